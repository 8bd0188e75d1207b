# A short front for the CMake presets; `make help` lists the goals.
.PHONY: all run demo test quick fuzz sanitize check clean help
FUZZ_SECONDS ?= 60

all: build/build.ninja
	@cmake --build build --target doppler_tool

run:
	@sh tools/setup.sh
	@$(MAKE) --no-print-directory all
	@build/doppler run </dev/null

demo:
	@sh tools/setup.sh web
	@cmake --preset wasm >/dev/null
	@cmake --build build-wasm --target doppler_web
	@node tools/serve.mjs

test:
	@bash tests/run.sh

quick:
	@bash tests/run.sh release checks

fuzz:
	@FUZZ_SECONDS=$(FUZZ_SECONDS) bash tests/run.sh fuzz

sanitize:
	@bash tests/run.sh sanitize

check:
	@bash tests/run.sh checks

clean:
	rm -rf build build-*

help:
	@echo 'make           build/doppler (release)'
	@echo 'make run       install what is missing, build, and let the bundled model tell a story'
	@echo 'make demo      install what is missing, build the browser module and serve the demo page'
	@echo 'make test      install what is missing, build and run every test'
	@echo 'make quick     source checks and the tests of the release build only'
	@echo 'make sanitize  tests under AddressSanitizer and UndefinedBehaviorSanitizer only'
	@echo 'make fuzz      the fuzz targets, FUZZ_SECONDS=60 each'
	@echo 'make check     source checks only'
	@echo 'make clean     remove the build folders'

build/build.ninja:
	@command -v cmake >/dev/null && command -v ninja >/dev/null || { echo 'cmake or ninja is missing: sh tools/setup.sh installs them'; exit 1; }
	@cmake --preset release >/dev/null
