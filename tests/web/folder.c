/* folder.c: test_folder() of test.h where the file tree is the program's own and ends with it. */
#include <sys/stat.h>

#include "test.h"

const char *test_folder(void) {
    static const char folder[] = "/tmp";
    mkdir(folder, 0777);
    return folder;
}
