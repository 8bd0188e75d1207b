# Embeds kernels/*.wgsl: writes a C file with one byte array per kernel and a table of names, when a kernel changes.
file(GLOB KERNELS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/*.wgsl)
set(KERNELS_C ${CMAKE_BINARY_DIR}/generated/kernels.c)
add_custom_command(OUTPUT ${KERNELS_C}
    COMMAND ${CMAKE_COMMAND} -DOUT=${KERNELS_C} "-DKERNELS=${KERNELS}" -P ${CMAKE_SOURCE_DIR}/cmake/embed_kernels.cmake
    DEPENDS ${KERNELS} ${CMAKE_SOURCE_DIR}/cmake/embed_kernels.cmake VERBATIM)
