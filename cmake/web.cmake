# The browser's module, web/doppler.wasm: what web/src/core.js reaches through the exports of src/web, and nothing else.
add_executable(doppler_web $<TARGET_OBJECTS:doppler_objects>)
set_target_properties(doppler_web PROPERTIES OUTPUT_NAME doppler SUFFIX .wasm)
set_target_properties(doppler_web PROPERTIES LINKER_LANGUAGE C)
target_link_libraries(doppler_web PRIVATE m)
target_link_options(doppler_web PRIVATE -Wl,--gc-sections,--strip-all,-z,stack-size=1048576)
add_custom_command(TARGET doppler_web POST_BUILD
    COMMAND ${CMAKE_COMMAND} -E copy_if_different $<TARGET_FILE:doppler_web> ${CMAKE_SOURCE_DIR}/web/doppler.wasm)
