# One command each; CI calls the same ones.
#   make run     install what is missing, build, run the local stack until Ctrl-C
#   make test    install what is missing, build and run every test
#   make check   formatting, warnings as errors, the imports that targets declare, docs/configuration.md
#   make simulate SEED=1 SEEDS=20000: the aggregator's core under seeded crashes, zombies and losses
#   make chaos   MINUTES=10 SEED=1: the whole pipeline under every fault, then the tables against an oracle
#   make crashpoints SEED=1 SEEDS=20: every program killed at every named point, then the same
#   make offline MINUTES=10 SEED=1: a probe that is offline for two hours, killed, and its clocks set
#   make failover  two database servers change places; with the real scripts, on an idle machine
#   make prove   what the probe reports, near to what an emulated link is set to; needs root and an idle machine
#   make mutants breaks the code on purpose, and expects the tests to notice
#   make fuzz    INPUTS=10000000 SEED=1: everything that reads foreign bytes, with the address sanitizer
#   make bench   speed and memory as ratios against baselines of the same run
#   make agreement PAIRS=200: the probe's figures beside those of curl, dig, ping and iperf3; needs root
#   make soak-tls MINUTES=10: libnats that speaks TLS itself beside the sidecar that does it, under load and cuts
#   make check-deploy  the compose files and what they mount, with the tools that will read them
#   make test-deploy   a whole installation on twelve network hosts of this machine, and all that its machines can suffer;
#                      needs root, and the programs built for images: docs/testing-deployment.md
#   make document-sql  puts the answers of today into docs/sql.md
#   make format  rewrite the sources in the project's format

SWIFT_SOURCES = Package.swift Sources Tests Benchmarks
RUN_ARGS ?=

# The same seed strikes in the same order.
SEED ?= 1
SEEDS ?= 20
MINUTES ?= 10
FAULTS ?= all
INPUTS ?= 10000000
PAIRS ?= 200

.PHONY: run build test simulate chaos crashpoints offline failover prove mutants fuzz check format bench agreement check-deploy soak-tls document-sql dependencies test-dependencies clean

run: dependencies
	swift build -c release
	.build/release/qoectl local up $(RUN_ARGS)

build: dependencies
	swift build

test: test-dependencies
	swift build --build-tests
	Scripts/run-tests

chaos: test-dependencies
	swift build --build-tests
	swift build -c release --product aggregator
	swift build -c release --product ingest
	QOE_PROGRAMS=$(CURDIR)/.build/release QOE_CHAOS_SEED=$(SEED) QOE_CHAOS_SECONDS=$$(( $(MINUTES) * 60 )) QOE_CHAOS_FAULTS=$(FAULTS) \
		swift test --skip-build --filter ChaosTests

crashpoints: test-dependencies
	swift build --build-tests
	QOE_CRASHPOINT_SEED=$(SEED) QOE_CRASHPOINT_SEEDS=$(SEEDS) \
		swift test --skip-build --filter CrashPointTests

offline: test-dependencies
	swift build --build-tests
	QOE_OFFLINE_SEED=$(SEED) QOE_OFFLINE_SECONDS=$$(( $(MINUTES) * 60 )) \
		swift test --skip-build --filter ProbeOfflineTests

failover: test-dependencies
	swift build --build-tests
	QOE_FAILOVER=1 swift test --skip-build --filter FailoverRunTests

prove: test-dependencies
	swift build --build-tests
	QOE_PROVE=1 swift test --skip-build --filter ProbeProofTests

simulate: dependencies
	swift build -c release --product simulator
	.build/release/simulator --seed $(SEED) --seeds $(SEEDS)

mutants: test-dependencies
	Scripts/run-mutants

fuzz: test-dependencies
	Scripts/fuzz $(INPUTS) $(SEED)

check: dependencies
	swift format lint --strict --recursive $(SWIFT_SOURCES)
	swift build --build-tests --explicit-target-dependency-import-check error
	Scripts/document-settings --check
	Scripts/run-mutants --check

format:
	swift format --in-place --recursive $(SWIFT_SOURCES)

bench: dependencies
	swift build -c release --product aggregator
	swift build -c release --product ingest
	swift run -c release benchmarks $(BENCH_ARGS)

agreement: dependencies
	swift build -c release --product probe
	Scripts/probe-agreement --pairs $(PAIRS)

check-deploy:
	Scripts/check-deploy-files

test-deploy:
	Scripts/install-dependencies --test-deploy
	Scripts/test-images programs
	Scripts/test-deploy

soak-tls: dependencies
	Scripts/soak-tls $(MINUTES)

document-sql: test-dependencies
	swift build --build-tests
	QOE_DOCUMENT_SQL=1 swift test --skip-build --filter DocumentationTests

dependencies:
	@Scripts/install-dependencies

test-dependencies:
	@Scripts/install-dependencies --tests

clean:
	swift package clean
