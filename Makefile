# make            build build/sluice.elf, which is what sluice.toml says, and
#                 build/sluice-microvm.elf and build/sluice-pc.elf: the kernel
#                 without domains
# make run        build what sluice.toml says and boot it in QEMU;
#                 http://127.0.0.1:8080 answers
# make test       everything that proves it works: host tests, then QEMU suites
# make test-all   the same with the full product of every table
# make fuzz       what neighbours of a router can send, a minute each (FUZZTIME=1m)
# make lint       gofmt, go vet, staticcheck, go mod tidy
# make soak       one machine for SOAK=1h at a low rate with bursts; what it holds stays the same
# make bench      measure against a Linux guest; docs/performance.md explains

SHELL   := /bin/bash -o pipefail
GO      ?= go
HTTP    ?= 8080
BUILD   := build
BOARDS  := microvm pc
IMAGES  := $(BOARDS:%=$(BUILD)/sluice-%.elf)
# The boards that make does not build by itself.
MORE    := firecracker cloudhypervisor virt-arm64
OTHERS  := $(MORE:%=$(BUILD)/sluice-%.elf)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Packages of the kernel that only build for the bare machine import the
# overlay's runtime/goos; the rest is tested on this machine.
HOST     = $(shell $(GO) list -e -f '{{if not .DepsErrors}}{{if not .Error}}{{.ImportPath}}{{end}}{{end}}' ./... | grep -v /qemutest/suites)

SOURCES = $(wildcard boards drivers image kernel nexus userland qemutest)

.PHONY: all run test test-all test-host test-million test-qemu lint fuzz soak bench bench-host clean qemu arm gcc ovmf clients images FORCE

all: images $(BUILD)/sluice.elf

images: $(IMAGES)

$(BUILD)/sluice.elf: FORCE
	@$(GO) run ./image build -o $@

# go build knows what has changed.
$(IMAGES) $(OTHERS): $(BUILD)/sluice-%.elf: FORCE
	@$(GO) run ./image build -manifest none -board $* -o $@

FORCE:

run: qemu
	@$(GO) run ./image run -http $(HTTP)

test: test-host test-million test-qemu

test-all: export SLUICE_ALL = 1
test-all: test

test-host: qemu gcc clients
	@$(GO) test -race -timeout 1h -json $(HOST) | $(GO) run ./qemutest/slowest

# A million of each thing that a domain or a peer can ask for, ten million slots of rings,
# hundreds of thousands of datagrams, and a network of 200 routers: without -race, which makes
# it a hundred times as long.
test-million:
	SLUICE_ALL=1 $(GO) test -count=1 -timeout 1h -run '^Test(Million|Xfer)' ./nexus/flowswitch ./nexus/pipe ./nexus/channel ./kernel/host
	$(GO) test -count=1 -run '^TestSimulatedNetwork$$' ./kernel/route/isis

test-qemu: qemu arm ovmf clients images $(OTHERS)
	SLUICE_BUILD=$(CURDIR)/$(BUILD) $(GO) test -json -count=1 -timeout 3h ./qemutest/suites/... | $(GO) run ./qemutest/slowest

# Making a find smaller takes a minute in which nothing else is tried. A fuzzer whose time is over may
# say so as an error (golang.org/issue/75804): that is none, unless it has found something too.
FUZZTIME ?= 1m
FUZZ     := isis/pdu:FuzzHello isis/pdu:FuzzLSP isis/pdu:FuzzSNP isis:FuzzInstance isis/config:FuzzParse

fuzz:
	@mkdir -p $(BUILD)
	@for f in $(FUZZ); do \
		$(GO) test -run xxx -fuzz "^$${f#*:}$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x ./kernel/route/$${f%:*} | tee $(BUILD)/fuzz.log || \
		{ grep -q '^ *context deadline exceeded$$' $(BUILD)/fuzz.log && ! grep -qi 'failing input\|panic\|race' $(BUILD)/fuzz.log; } || exit 1; \
	done

# The kernel imports packages that only the overlay has; vet and staticcheck
# want to see them in a GOROOT.
lint:
	@test -z "$$(gofmt -l $(SOURCES) | tee /dev/stderr)" || { echo 'gofmt: the files above are not formatted: run gofmt -w' >&2; exit 1; }
	$(GO) mod tidy -diff
	GOBIN=$(CURDIR)/$(BUILD) $(GO) install $(STATICCHECK)
	$(GO) run ./image overlay -goroot $(CURDIR)/$(BUILD)/goroot
	GOROOT=$(CURDIR)/$(BUILD)/goroot $(GO) vet -unsafeptr=false ./...
	GOROOT=$(CURDIR)/$(BUILD)/goroot GOARCH=arm64 $(GO) vet -unsafeptr=false ./kernel/... ./boards/virt-arm64
	GOROOT=$(CURDIR)/$(BUILD)/goroot $(BUILD)/staticcheck ./...
	GOROOT=$(CURDIR)/$(BUILD)/goroot $(GO) vet -unsafeptr=false -tags isis ./kernel
	GOROOT=$(CURDIR)/$(BUILD)/goroot $(BUILD)/staticcheck -tags isis ./kernel

SOAK ?= 1h
soak: qemu images
	SLUICE_BUILD=$(CURDIR)/$(BUILD) SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 0 -run '^TestSoak$$' ./qemutest/suites

bench: qemu images bench-host
	$(GO) run ./qemutest/bench -build $(BUILD)

# What needs no machine: checks, loans, the queue, sums, paths and routes. FRR's paths are passed over
# where it cannot be run, which -v would tell.
bench-host:
	$(GO) test -run xxx -bench 'Admit|Loan|Queue|CopySum|SPF|Decide|Lookup/' \
		./nexus/flowswitch ./nexus/pool ./nexus/aqm ./nexus/packet ./kernel/route/isis ./kernel/route/forward ./kernel/route/fib
	$(GO) test -run xxx -bench SPF -benchtime 1x ./qemutest/frr

clean:
	rm -rf $(BUILD)

# QEMU, firmware for it, and the C compiler that go test -race wants, are installed
# when they are missing and that is possible without asking.
qemu: PROGRAM = qemu-system-x86_64
qemu: PACKAGES = qemu-system-x86
arm: PROGRAM = qemu-system-aarch64
arm: PACKAGES = qemu-system-arm
gcc: PROGRAM = gcc
gcc: PACKAGES = gcc libc6-dev
ovmf: PROGRAM = /usr/share/ovmf/OVMF.fd
ovmf: PACKAGES = ovmf
qemu arm gcc ovmf:
	@command -v $(PROGRAM) >/dev/null || test -e $(PROGRAM) && exit 0; \
	if [ "$$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo='sudo -n'; \
	else echo '$(PROGRAM) is missing. Type: sudo apt-get install --no-install-recommends $(PACKAGES)' >&2; exit 1; fi; \
	echo 'installing $(PACKAGES)' >&2; \
	$$sudo apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -q --no-install-recommends $(PACKAGES) >/dev/null

# The programs that apps and disks are tested with, and the package of each, are installed likewise. One that
# is missing fails nothing: the tests with it are skipped.
CLIENTS := curl:curl dig:bind9-dnsutils iperf3:iperf3 ping:iputils-ping wrk:wrk ab:apache2-utils dumpcap:tshark tshark:tshark qemu-img:qemu-utils
clients:
	@missing=; for c in $(CLIENTS); do \
		command -v $${c%:*} >/dev/null || case " $$missing " in *" $${c#*:} "*) ;; *) missing="$$missing $${c#*:}" ;; esac; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null; then echo "not installed:$$missing; the tests with them are skipped" >&2; exit 0; \
	elif [ "$$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo='sudo -n'; \
	else echo "the tests with these are skipped. Type: sudo apt-get install --no-install-recommends$$missing" >&2; exit 0; fi; \
	echo "installing$$missing" >&2; \
	$$sudo apt-get update -q >/dev/null || true; \
	for package in $$missing; do \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$package >/dev/null || \
			echo "not installed: $$package; the tests with it are skipped" >&2; \
	done
