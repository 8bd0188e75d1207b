# The GPU device: over webgpu.h where that header is found, else a stand-in that says there is none. The library itself
# is loaded at run time. WebAssembly calls its JavaScript host instead. The header: -DDOPPLER_WEBGPU_INCLUDE=FOLDER, what tools/setup_webgpu.sh set up, or the system's.
option(DOPPLER_WEBGPU "Build the GPU device if webgpu/webgpu.h is found" ON)
set(WEBGPU_HEADER)
if(DOPPLER_WEBGPU AND NOT DOPPLER_WASM)
  find_path(DOPPLER_WEBGPU_INCLUDE webgpu/webgpu.h HINTS ${CMAKE_SOURCE_DIR}/build/webgpu/include)
  set(WEBGPU_HEADER ${DOPPLER_WEBGPU_INCLUDE})
endif()
if(DOPPLER_WASM) # gpu_web.c: the host's navigator.gpu
  list(FILTER DOPPLER_SOURCES EXCLUDE REGEX "gpu_absent\\.c$|gpu_native[a-z_]*\\.c$")
elseif(WEBGPU_HEADER)
  message(STATUS "WebGPU header: ${WEBGPU_HEADER}")
  list(FILTER DOPPLER_SOURCES EXCLUDE REGEX "gpu_absent\\.c$")
  file(GLOB WEBGPU_SOURCES src/gpu/gpu_native*.c)
  set_source_files_properties(${WEBGPU_SOURCES} PROPERTIES COMPILE_OPTIONS "-isystem;${WEBGPU_HEADER}")
else()
  message(STATUS "WebGPU header: not found, the CPU only (tools/setup_webgpu.sh)")
  list(FILTER DOPPLER_SOURCES EXCLUDE REGEX "gpu_native[a-z_]*\\.c$")
endif()
