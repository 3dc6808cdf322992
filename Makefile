# Dynamo in Go. `make` alone lists what there is.

GO       ?= go
TOOLS    := $(CURDIR)/.tools
SEED     ?= 1
HOURS    ?= 1000
FUZZTIME ?= 20s
BENCH    ?= .

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: check
check: fmt-check lint test sim-bugs build ## everything that CI runs: formatting, lint, tests, seeded bugs, build

.PHONY: build
build: ## build bin/dynamo
	@echo "== build"
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/dynamo ./cmd/dynamo

.PHONY: test
test: ## all tests, with the race detector and in random order
	@echo "== test"
	@$(GO) test -race -shuffle=on -timeout 20m ./...

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint ## format the code
	@$(TOOLS)/golangci-lint fmt ./...

.PHONY: fmt-check
fmt-check: $(TOOLS)/golangci-lint
	@echo "== formatting"
	@$(TOOLS)/golangci-lint fmt --diff ./...

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## the linters of .golangci.yml
	@echo "== lint"
	@$(TOOLS)/golangci-lint run ./...

.PHONY: sim
sim: ## replay one simulated run: make sim SEED=42
	@$(GO) test ./internal/sim -run '^TestSeed$$' -sim.seed=$(SEED) -v

.PHONY: sim-hours
sim-hours: ## simulate many cluster-hours: make sim-hours HOURS=1000
	@$(GO) test ./internal/sim -run '^TestHours$$' -sim.hours=$(HOURS) -timeout 60m -v

.PHONY: sim-bugs
sim-bugs: ## prove that the simulator catches each seeded bug
	@echo "== seeded bugs"
	@$(GO) test -tags simbugs ./internal/sim -run '^TestSeededBugs$$' -timeout 20m

.PHONY: fuzz
fuzz: ## run every fuzzer for FUZZTIME
	@$(GO) list ./... | while read -r pkg; do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "== $$pkg $$f"; $(GO) test $$pkg -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) || exit 1; \
		done; \
	done

.PHONY: bench
bench: ## benchmarks: make bench BENCH=Put
	@$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: cover
cover: ## test coverage by package
	@$(GO) test -coverprofile=coverage.out ./... && $(GO) tool cover -func=coverage.out | tail -n 1

.PHONY: generate
generate: $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc $(TOOLS)/protoc-gen-go-vtproto ## generate the protocol's code; the diff must be empty
	@PATH="$(TOOLS):$$PATH" $(GO) tool -modfile=tools/go.mod buf generate

.PHONY: tools
tools: $(TOOLS)/golangci-lint ## build the pinned tools (once: up to eight minutes)

$(TOOLS)/golangci-lint: tools/go.mod
	@echo "== building golangci-lint: once, up to eight minutes"
	@mkdir -p $(TOOLS)
	@cd tools && $(GO) build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/protoc-gen-go: tools/gen/go.mod
	@mkdir -p $(TOOLS)
	@cd tools/gen && $(GO) build -o $@ google.golang.org/protobuf/cmd/protoc-gen-go

$(TOOLS)/protoc-gen-go-grpc: tools/gen/go.mod
	@mkdir -p $(TOOLS)
	@cd tools/gen && $(GO) build -o $@ google.golang.org/grpc/cmd/protoc-gen-go-grpc

$(TOOLS)/protoc-gen-go-vtproto: tools/gen/go.mod
	@mkdir -p $(TOOLS)
	@cd tools/gen && $(GO) build -o $@ github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin coverage.out
