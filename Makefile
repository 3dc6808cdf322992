# Dynamo in Go. `make` alone lists what there is.

GO         ?= go
TOOLS      := .tools
LINT       := $(TOOLS)/golangci-lint
GENERATORS := $(addprefix $(TOOLS)/,buf protoc-gen-go protoc-gen-go-grpc protoc-gen-go-vtproto)

# What the targets below take.
SEED      ?= 1
HOURS     ?= 1000
FUZZTIME  ?= 20s
BENCH     ?= .
BENCHTIME ?= 1s
MINUTES   ?= 0.2
OPS       ?= 250
KILLS     ?= 1000
ENGINES   ?= pebble lss bolt badger memory

.DEFAULT_GOAL := help
ifndef LANES
.NOTPARALLEL: # the stages share two cores, and their output is read
endif

# What is built without the race detector is built as it is shipped, by the linters
# too: all of them share what is compiled.
SHIPPED = CGO_ENABLED=0 GOFLAGS='$(shell $(GO) env GOFLAGS) -trimpath'

# Linters and simulated runs make much garbage at a time and keep little: to collect
# it less often takes a quarter off them.
LAVISH := GOGC=300 GOMEMLIMIT=3GiB

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# check has two lanes. One waits most of its time, for what real processes do; the
# other one computes, and leaves it the cores whenever it wants one.
.PHONY: check
check: fmt-check archtest ## everything that CI runs: formatting, linters, floors, tests, seeded bugs, build
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target LANES=2 check-waiting check-computing
	@echo "== check passed"

.PHONY: check-waiting
check-waiting:
	@$(MAKE) LANES= test-clusters tier3

.PHONY: check-computing
check-computing:
	@nice -n 5 $(MAKE) LANES= lint sim-bugs test-packages build

.PHONY: build
build: ## build bin/dynamo
	@echo "== build"
	@$(SHIPPED) $(GO) build -o bin/dynamo ./cmd/dynamo

.PHONY: archtest
archtest: ## the floors: which package may import what, and which must be pure
	@echo "== archtest"
	@$(GO) test ./internal/archtest

# The packages that the race detector has nothing to look at in: machines and
# calculators, which archtest holds to having neither a goroutine nor a lock, and the
# simulator, whose runs have one goroutine each.
PURE := admission|antientropy|audit|backoff|breaker|coordinator|core|forget|guard|handoff|histogram|id|kv|latency|membership|merkle|node|phi|quorum|replica|ring|room|sim|version

# The packages in which some tests are long computations, or move many megabytes,
# with hardly two goroutines at a time, and these: the race detector takes ten times
# as long for them and finds nothing that the others of their packages do not show it.
COMPUTING := ./internal/migrate ./internal/runtime ./internal/storage/... ./internal/transport/httpjson
CRASHES   := Everywhere$$|^TestEveryByte$$|^TestCheck|^TestReadOnlyDisk$$|^TestRefused$$
LARGE     := ^TestMemory|^TestBounded$$|^TestEngine$$/^memory$$/^LargeValues$$|^TestConformance$$/^OutboxIsBounded$$
LOADS     := ^TestFiguresOf|^TestAdmissionKeepsRequestsFast$$|^TestGoodputUnderOverload$$|^TestCallersThatWaitAreServed$$|^TestEveryMetricMoves$$
COMPUTED  := $(CRASHES)|$(LARGE)|$(LOADS)

# The linters vet all of it but what has the tag simbugs.
TEST := $(GO) test -vet=off -shuffle=on -timeout 20m

.PHONY: test
test: archtest test-packages test-clusters ## all tests but tier 3, in random order, with the race detector where there is more than one goroutine

.PHONY: test-packages
test-packages: ## those of single packages, and of nodes that others embed
	@echo "== test of what has one goroutine"
	@$(LAVISH) $(SHIPPED) $(TEST) $$($(GO) list ./... | grep -E '/internal/($(PURE))$$')
	@echo "== test of what is computed: without the race detector"
	@$(SHIPPED) $(TEST) -run '$(COMPUTED)' $(COMPUTING)
	@echo "== test of nodes that speak HTTP with each other"
	@DYNAMO_TRANSPORT=http $(SHIPPED) $(TEST) -skip '^TestVirtual' .
	@echo "== test with the race detector"
	@$(TEST) -race -skip '$(COMPUTED)' $(COMPUTING)
	@$(TEST) -race $$($(GO) list ./... | grep -vE '/internal/(($(PURE)|archtest)$$|migrate|runtime|storage|transport/httpjson)|/test/')

.PHONY: test-clusters
test-clusters: ## those of clusters of processes over loopback, with each transport
	@echo "== test of clusters, with the race detector"
	@$(TEST) -race -skip '^TestTier3' ./test/cluster
	@echo "== test of clusters that speak HTTP"
	@DYNAMO_TRANSPORT=http $(SHIPPED) $(TEST) -skip '^TestTier3' ./test/cluster

.PHONY: tier3
tier3: ## real processes in network namespaces, as root: make tier3 MINUTES=10
	@echo "== tier 3"
	@$(SHIPPED) $(GO) test -vet=off ./test/cluster -run '^TestTier3' -tier3.minutes=$(MINUTES) -count=1 -timeout 24h

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
	@$(LAVISH) $(SHIPPED) $(LINT) run ./...

.PHONY: sim
sim: ## replay one simulated run: make sim SEED=42
	@$(GO) test ./internal/sim -run '^TestSeed$$' -sim.seed=$(SEED) -v

.PHONY: sim-long
sim-long: ## simulate many cluster-hours, as over a night: make sim-long HOURS=1000
	@$(GO) test ./internal/sim -run '^TestHours$$' -sim.hours=$(HOURS) -sim.seed=$(SEED) -timeout 24h -v

.PHONY: sim-bugs
sim-bugs: ## prove that the simulator catches each seeded bug
	@echo "== seeded bugs"
	@$(LAVISH) $(SHIPPED) $(GO) test -tags simbugs ./internal/sim . ./internal/replica ./internal/coordinator ./internal/handoff ./internal/forget ./internal/membership ./internal/node -run '^TestSeededBugs$$|Need(s|Their)' -timeout 20m -v

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
bench: ## benchmarks: make bench BENCH=Put, or BENCHTIME=1x to see that all of them run
	@$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime '$(BENCHTIME)' -benchmem -timeout 1h ./...

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
