# Thin names for what cargo and the scripts do; each line can be run by hand.
.PHONY: help programs images models demo test test-gpu test-mixing test-node tutorial cluster bench bench-adapter bench-hpas bench-model bench-scale soak

help:
	@echo "make demo           three model servers under load, read and judged as an autoscaler would (about 4 minutes)"
	@echo "make test           every check and test that this machine can run"
	@echo "make test-gpu       the model server on this machine's GPU against PyTorch on the same one (about 4 minutes)"
	@echo "make test-mixing    a million rows of many clients, none of whom may get a part of another's answer"
	@echo "make models         33 public ONNX files and today's exporters' served as they are and compared with onnxruntime (about 10 minutes)"
	@echo "make images         container images, by Docker or buildah; LOAD=kind, k3d or minikube loads them into that cluster"
	@echo "make test-node      what is shipped, installed on a real node in namespaces of its own (root, about 20 minutes)"
	@echo "make tutorial       the tutorial's autoscaler with its own windows on a real node, and how soon it reacts (root, about 55 minutes)"
	@echo "make cluster        a control plane on loopback with the tutorial's stack in it, until interrupted; NODE=1: on a real node (root)"
	@echo "make bench          the time of every hot step, gathered in target/reports/bench.json"
	@echo "make bench-adapter  ours and prometheus-adapter in turn, gathered in target/reports/adapter.json (about 20 minutes)"
	@echo "make bench-hpas     a thousand autoscalers of the real controller by ours and prometheus-adapter, in target/reports/hpas.json (about 20 minutes)"
	@echo "make bench-model    ours, the tutorial's FastAPI server and others in turn, in target/reports (about 10 minutes)"
	@echo "make bench-scale    how cost grows with pods, metric names and rules, in target/reports/scale.json (about an hour; QUICK=1: 5 minutes)"
	@echo "make soak           an hour of load while everything around the adapter changes, judged in target/reports/soak.json"

programs:
	cargo build --release --locked -p adapter -p model-server -p e2e --bins

images:
	scripts/images

models: programs
	scripts/models-table

demo:
	scripts/demo

test:
	scripts/test

test-gpu:
	scripts/gpu-bundle --run

test-mixing:
	MIXING_ROWS=1000000 cargo test --release --locked -p model-server --test server mixing

test-node:
	scripts/test images release node

tutorial:
	scripts/test images release tutorial

cluster: programs
	$(if $(NODE),scripts/images --prebuilt)
	$(if $(NODE),scripts/sandbox) target/release/cluster $(if $(NODE),--node)

bench:
	scripts/bench

bench-adapter: programs
	target/release/bench-adapter

bench-hpas: programs
	target/release/bench-hpas

bench-model: programs
	target/release/bench-model

bench-scale: programs
	target/release/bench-scale $(if $(QUICK),--quick)

soak: programs
	target/release/soak
