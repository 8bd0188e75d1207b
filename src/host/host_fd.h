/* host_fd.h: the descriptor behind a dp_file, for the host's own files only. */
#ifndef DP_HOST_FD_H
#define DP_HOST_FD_H

#include "host/host.h"

/* A descriptor to use and give back; fails if the file is no longer there. */
dp_status dp_file_borrow(const dp_file *file, int *fd);
void dp_file_return(const dp_file *file, int fd);

#endif
