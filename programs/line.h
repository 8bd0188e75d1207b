/* line.h: a line editor for terminals: history in a file, the usual Emacs keys, UTF-8, pasted text of several lines.
 * Without a terminal on standard input and error it reads plain lines. */
#ifndef TOOL_LINE_H
#define TOOL_LINE_H

#include "base/base.h"

typedef struct line_editor line_editor;

/* history: a file to load and save lines in, or NULL. */
dp_status line_editor_new(const char *history, line_editor **out);
void line_editor_free(line_editor *editor);
/* Shows `prompt` and reads a line into *line (dp_free() it); NULL at the end of input (Ctrl-D on an empty line).
 * Ctrl-C gives up the line being written: *line is then "". */
dp_status line_editor_read(line_editor *editor, const char *prompt, char **line);

#endif
