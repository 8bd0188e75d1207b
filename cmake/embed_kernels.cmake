# Run by kernels.cmake. OUT: the C file; KERNELS: the WGSL files.
set(arrays "")
set(table "")
foreach(kernel ${KERNELS})
  get_filename_component(name ${kernel} NAME_WE)
  file(READ ${kernel} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND arrays "static const unsigned char ${name}[] = {${bytes}0};\n")
  string(APPEND table "    {\"${name}\", (const char *)${name}},\n")
endforeach()
file(WRITE ${OUT}.new "/* Generated from the WGSL files in kernels. */\n#include \"gpu/kernels.h\"\n\n${arrays}
const dp_kernel_source dp_kernel_sources[] = {\n${table}    {0, 0},\n};\n")
file(COPY_FILE ${OUT}.new ${OUT} ONLY_IF_DIFFERENT)
file(TOUCH_NOCREATE ${OUT})
