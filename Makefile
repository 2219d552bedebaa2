# The targets people use; Meson does the building. `make help` lists them.
BUILD ?= build
STARTER_WORK ?= build-starter

.DEFAULT_GOAL := help
.PHONY: help run build static static-arm64 test soak bench plots format starter starter-eval clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## install what is missing and build the release program as build/lllm
	@sh scripts/install-packages.sh run
	@sh scripts/build.sh $(BUILD)

run: build ## build, then answer a prompt with the built-in model
	@$(BUILD)/lllm run "What is machine learning?"

static: ## a small program for edge machines: one static file, models by path
	@sh scripts/install-packages.sh run
	@sh scripts/build.sh $(BUILD)
	@sh scripts/show-static.sh $(BUILD)/lllm-static

static-arm64: ## the same for 64-bit Arm, cross-built
	@sh scripts/install-packages.sh arm64
	@sh scripts/build.sh $(BUILD)-arm64 --cross-file scripts/arm64.cross
	@sh scripts/show-static.sh $(BUILD)-arm64/lllm-static

test: ## install what the tests need, build, run all of them
	@sh scripts/install-packages.sh test
	@sh scripts/build.sh $(BUILD)
	@python3 scripts/run_tests.py $(BUILD)

soak: ## the long checks, at the counts the issues name
	@sh scripts/install-packages.sh test
	@sh scripts/build.sh $(BUILD)
	@LLLM_SOAK=1 python3 scripts/run_tests.py $(BUILD)

bench: build ## start-up, memory and speed of the built-in model; see docs/speed.md
	@python3 bench/starter.py --lllm $(BUILD)/lllm

plots: build ## sweep MODELS="a.gguf b.gguf" and draw docs/plots/*.svg with the machine's limits
	@python3 bench/plots.py --lllm $(BUILD)/lllm --out docs/plots $(MODELS)

format: ## lay out the sources
	@git ls-files '*.c' '*.h' | xargs clang-format -i

starter: build ## rebuild the built-in model from its corpus and recipe (up to an hour)
	@sh models/starter/build.sh $(BUILD)/lllm $(STARTER_WORK)

starter-eval: build ## accuracy of the committed built-in model on its held-out sets
	@sh models/starter/eval.sh $(BUILD)/lllm $(STARTER_WORK)

clean: ## remove the build folders
	rm -rf $(BUILD) $(BUILD)-arm64 build-asan build-fuzz $(STARTER_WORK)
