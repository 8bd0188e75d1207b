# The browser's module, web/doppler.wasm: what web/src/core.js reaches through the exports of src/web, and nothing else.
add_executable(doppler_web $<TARGET_OBJECTS:doppler_objects>)
set_target_properties(doppler_web PROPERTIES OUTPUT_NAME doppler SUFFIX .wasm)
set_target_properties(doppler_web PROPERTIES LINKER_LANGUAGE C)
target_link_libraries(doppler_web PRIVATE m)
target_link_options(doppler_web PRIVATE -Wl,--gc-sections,--strip-all,-z,stack-size=1048576)
add_custom_command(TARGET doppler_web POST_BUILD
    COMMAND ${CMAKE_COMMAND} -E copy_if_different $<TARGET_FILE:doppler_web> ${CMAKE_SOURCE_DIR}/web/doppler.wasm)

# Test programs that tests/web/programs.mjs runs in a browser's worker: the same sources as natively.
add_custom_target(doppler_web_tests)
foreach(source golden/test_families golden/test_gpu ops/test_gpu_ops unit/test_gpu_device)
  get_filename_component(name ${source} NAME)
  add_executable(web_${name} EXCLUDE_FROM_ALL tests/${source}.c tests/web/folder.c tests/support/test.c tests/support/ops.c
      tests/support/files.c tests/support/golden.c tests/support/refmodel.c tests/support/gguf_file.c tests/support/gguf_fuse.c)
  set_target_properties(web_${name} PROPERTIES OUTPUT_NAME ${name} SUFFIX .wasm RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/web)
  target_include_directories(web_${name} PRIVATE tests/support)
  target_compile_definitions(web_${name} PRIVATE DOPPLER_SOURCE_DIR="/repository")
  target_link_libraries(web_${name} PRIVATE doppler_objects)
  target_link_options(web_${name} PRIVATE -mexec-model=command -Wl,-z,stack-size=4194304)
  add_dependencies(doppler_web_tests web_${name})
endforeach()
# The same with relaxed SIMD: the products of the CPU, and the families through them.
add_custom_target(doppler_web_relaxed DEPENDS web_test_families test_matmul_fast test_attention_fast test_rows_fast)
