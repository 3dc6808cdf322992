# Dynamo in Go. `make` alone lists what there is.

GO         ?= go
TOOLS      := .tools
LINT       := $(TOOLS)/golangci-lint
GENERATORS := $(addprefix $(TOOLS)/,buf protoc-gen-go protoc-gen-go-grpc protoc-gen-go-vtproto)

# What the targets below take.
SEED     ?= 1
HOURS    ?= 1000
FUZZTIME ?= 20s
BENCH    ?= .
MINUTES  ?= 0.2
OPS      ?= 250
KILLS    ?= 1000
ENGINES  ?= pebble lss bolt badger memory

.DEFAULT_GOAL := help
.NOTPARALLEL: # the stages of check share two cores, and their output is read

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: check
check: fmt-check archtest lint test tier3 sim-bugs build ## everything that CI runs: formatting, floors, lint, tests, seeded bugs, build
	@echo "== check passed"

.PHONY: build
build: ## build bin/dynamo
	@echo "== build"
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/dynamo ./cmd/dynamo

.PHONY: archtest
archtest: ## the floors: which package may import what, and which must be pure
	@echo "== archtest"
	@$(GO) test ./internal/archtest

# The packages in which some tests are long computations with hardly two goroutines
# at a time, and the names of these: the race detector takes ten times as long for
# them and finds nothing that the others of their packages do not show it.
COMPUTING := ./internal/migrate ./internal/runtime ./internal/storage/...
COMPUTED  := Everywhere$$|^TestEveryByte$$|^TestCheckFinds|^TestFiguresOf|^TestAdmissionKeepsRequestsFast$$|^TestGoodputUnderOverload$$|^TestCallersThatWaitAreServed$$

.PHONY: test
test: ## all tests but tier 3, in random order, with the race detector but for long computations
	@echo "== test"
	@$(GO) test -race -shuffle=on -timeout 20m -skip '$(COMPUTED)' $(COMPUTING)
	@$(GO) test -race -shuffle=on -timeout 20m -skip '^TestTier3' $$($(GO) list ./... | grep -vE '/internal/(sim$$|migrate|runtime|storage)')
	@echo "== test of what is computed: without the race detector"
	@$(GO) test -shuffle=on -timeout 20m -run '$(COMPUTED)' $(COMPUTING)
	@echo "== test of the simulator: a run has one goroutine, and needs no race detector"
	@$(GO) test -shuffle=on -timeout 20m ./internal/sim
	@echo "== test of clusters that speak HTTP"
	@DYNAMO_TRANSPORT=http $(GO) test -shuffle=on -timeout 20m -skip '^TestTier3' . ./test/cluster

.PHONY: tier3
tier3: ## real processes in network namespaces, as root: make tier3 MINUTES=10
	@echo "== tier 3"
	@$(GO) test ./test/cluster -run '^TestTier3' -tier3.minutes=$(MINUTES) -count=1 -timeout 24h

.PHONY: fmt
fmt: $(LINT) ## format the code
	@$(LINT) fmt ./...

.PHONY: fmt-check
fmt-check: $(LINT)
	@echo "== formatting"
	@$(LINT) fmt --diff ./...

.PHONY: lint
lint: $(LINT) ## the linters of .golangci.yml
	@echo "== lint"
	@$(LINT) run ./...

.PHONY: sim
sim: ## replay one simulated run: make sim SEED=42
	@$(GO) test ./internal/sim -run '^TestSeed$$' -sim.seed=$(SEED) -v

.PHONY: sim-long
sim-long: ## simulate many cluster-hours, as over a night: make sim-long HOURS=1000
	@$(GO) test ./internal/sim -run '^TestHours$$' -sim.hours=$(HOURS) -sim.seed=$(SEED) -timeout 24h -v

.PHONY: sim-bugs
sim-bugs: ## prove that the simulator catches each seeded bug
	@echo "== seeded bugs"
	@$(GO) test -tags simbugs ./internal/sim -run '^TestSeededBugs$$' -timeout 20m -v
	@$(GO) test -tags simbugs . ./internal/replica ./internal/coordinator ./internal/handoff ./internal/forget ./internal/membership ./internal/node ./internal/sim -run 'Need(s|Their)' -v

.PHONY: test-engines
test-engines: ## the tests of clusters, nodes and clients on each engine: make test-engines ENGINES=lss
	@set -e; for engine in $(ENGINES); do \
		echo "== clusters on the engine $$engine"; \
		DYNAMO_ENGINE=$$engine $(GO) test -shuffle=on -timeout 20m -skip '^TestTier3' . ./client ./test/cluster; \
	done

.PHONY: metamorphic
metamorphic: ## the same random operations for all engines: make metamorphic SEED=42 OPS=250
	@$(GO) test ./internal/storage/engines -run '^TestMetamorphic$$' -count=1 -v \
		-metamorphic.seed=$(SEED) -metamorphic.ops=$(OPS) -metamorphic.seeds=1

.PHONY: metamorphic-long
metamorphic-long: ## seed after seed of them: make metamorphic-long MINUTES=60
	@$(GO) test ./internal/storage/engines -run '^TestMetamorphic$$' -count=1 -timeout 24h -v \
		-metamorphic.seed=$(SEED) -metamorphic.ops=$(OPS) -metamorphic.minutes=$(MINUTES)

.PHONY: kill-loops
kill-loops: ## kill -9 processes on the durable engines, and look what is left: make kill-loops KILLS=1000
	@$(GO) test ./internal/storage/engines -run '^TestKill$$' -count=1 -timeout 24h -v -storage.kills=$(KILLS)

.PHONY: fuzz
fuzz: ## run every fuzzer for FUZZTIME: make fuzz FUZZTIME=1m
	@set -e; packages=$$($(GO) list ./...); \
	for pkg in $$packages; do \
		listed=$$($(GO) test -list '^Fuzz' $$pkg); \
		for f in $$(echo "$$listed" | grep '^Fuzz' || true); do \
			echo "== fuzz $$pkg $$f"; \
			$(GO) test $$pkg -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME); \
		done; \
	done

.PHONY: bench
bench: ## benchmarks: make bench BENCH=Put
	@$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: cover
cover: ## test coverage by package
	@$(GO) test -coverprofile=coverage.out ./... && $(GO) tool cover -func=coverage.out | tail -n 1

.PHONY: generate
generate: $(GENERATORS) ## generate the protocol's code (buf takes minutes to build, once)
	@PATH="$(CURDIR)/$(TOOLS):$$PATH" $(TOOLS)/buf generate

.PHONY: generate-check
generate-check: generate ## fail if the committed generated code is not what generate writes
	@git diff --exit-code -- api

.PHONY: tools
tools: $(LINT) ## build the pinned tools into .tools (once: up to eight minutes)
	@cd tools && $(GO) build -o ../$(TOOLS)/ tool

$(LINT): tools/go.mod
	@echo "== building golangci-lint: once, up to eight minutes"
	@cd tools && $(GO) build -o ../$(TOOLS)/ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@

$(GENERATORS): tools/gen/go.mod tools/buf/go.mod
	@echo "== building the generators: once"
	@cd tools/gen && $(GO) build -o ../../$(TOOLS)/ tool
	@cd tools/buf && $(GO) build -o ../../$(TOOLS)/ tool
	@touch $(GENERATORS)

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin coverage.out
