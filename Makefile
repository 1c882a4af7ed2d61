# One command each; CI calls the same ones.
#   make run     install what is missing, build, run the local stack until Ctrl-C
#   make test    install what is missing, build and run every test
#   make simulate [SEED=n] [SEEDS=m]   the aggregator's core under seeded crashes, zombies and losses
#   make check   formatting, warnings as errors, the imports that targets declare, docs/configuration.md
#   make bench   speed and memory as ratios against baselines of the same run
#   make format  rewrite the sources in the project's format

SWIFT_SOURCES = Package.swift Sources Tests Benchmarks
RUN_ARGS ?=
SEED ?= 1
SEEDS ?= 20000

.PHONY: run build test simulate check format bench dependencies clean

run: dependencies
	swift build -c release
	.build/release/qoectl local up $(RUN_ARGS)

build: dependencies
	swift build

test: dependencies
	swift build --build-tests
	swift test --skip-build

simulate: dependencies
	swift build -c release --product simulator
	.build/release/simulator --seed $(SEED) --seeds $(SEEDS)

check: dependencies
	swift format lint --strict --recursive $(SWIFT_SOURCES)
	swift build --build-tests --explicit-target-dependency-import-check error
	Scripts/document-settings --check

format:
	swift format --in-place --recursive $(SWIFT_SOURCES)

bench: dependencies
	swift run -c release benchmarks $(BENCH_ARGS)

dependencies:
	@Scripts/install-dependencies

clean:
	swift package clean
