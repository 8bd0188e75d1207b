/* host_fd.h: the descriptor behind a dp_file, for the host's own files only. */
#ifndef DP_HOST_FD_H
#define DP_HOST_FD_H

#include "host/host.h"

int dp_file_fd(const dp_file *file);

#endif
