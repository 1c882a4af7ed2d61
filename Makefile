# Placeholder goals are not kept: each goal below works.
.PHONY: build format lint

build:
	swift build

format:
	swift format --in-place --recursive Package.swift Sources Tests

lint:
	swift format lint --strict --recursive Package.swift Sources
