# Thin names for what cargo and the scripts do; each line can be run by hand.
.PHONY: help demo test bench

help:
	@echo "make demo    three model servers under load, read and judged as an autoscaler would (about 4 minutes)"
	@echo "make test    every check and test that this machine can run"
	@echo "make bench   the time of every hot step, gathered in target/reports/bench.json"

demo:
	cargo build --release --locked -p adapter -p model-server -p e2e --bins
	target/release/demo

test:
	scripts/test

bench:
	scripts/bench
