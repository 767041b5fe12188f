# Every target works from a clean checkout. `make test` is the whole of it.

# Debian's tools (aws, python3 with cryptography) before anything that shadows
# them, and the Go toolchain where its installer puts it.
export PATH := /usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin:$(PATH)

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
SOURCES := $(shell find cmd cache fs internal objcrypt systemd -name '*.go' 2>/dev/null) go.mod go.sum

# Seconds for each fuzz target in `make fuzz`, and so in `make test`.
FUZZTIME ?= 5

# What is run again in `make integration` with its bucket a round trip away.
LATENCY := 15ms
FAR := Posix|Rsync|Tar|Cp|Restic|Borg|Git|SQLite|Fio|Link|Rsnapshot|Editors|UnlinkedOpenFile|RenameO|Sparse|Fallocate|Mmap|Append|ExclusiveCreate|RewriteOfAPart

GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT  := go run mvdan.cc/gofumpt@v0.12.0

.PHONY: build demo bench test test-full setup unit fuzz integration interop lint clean

build: bin/sigilfs

bin/sigilfs: $(SOURCES)
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/sigilfs

# Starts an embedded S3 server, makes a key, mounts, shows plaintext in the
# mount and ciphertext in the bucket. ONCE=1 checks the same steps and exits.
demo: bin/sigilfs
	cd integration && SIGILFS_BIN=$(CURDIR)/bin/sigilfs go run ./demo $(if $(ONCE),-once)

# Times, ratios and exact counts of the built binary beside other filesystems and
# clients, on one MinIO behind one meter, near and far; brings docs/PERFORMANCE.md
# up to date. The whole takes two hours, on a machine that does nothing else, and
# 16 GiB of memory; QUICK=1 sees that it works and keeps nothing. BENCH='-run tar
# -links 15ms' measures a part: BENCH=-help has all flags. Peers are measured where
# they are installed: apt-get install s3fs rclone gocryptfs.
bench: bin/sigilfs
	cd integration && SIGILFS_BIN=$(CURDIR)/bin/sigilfs go run ./bench $(if $(QUICK),-quick -results '',-publish ../docs) $(BENCH)

test: setup unit fuzz integration interop

# What takes too long for every change: large files in full size, races in many
# rounds.
test-full: bin/sigilfs
	cd integration && SIGILFS_FULL=1 SIGILFS_BIN=$(CURDIR)/bin/sigilfs go test -count=1 -timeout 30m -v -run 'TestStreamInBoundedMemory|TestTwoHostsAtOnce' .

# Debian packages that the tests drive: restic, borg, fio and their like.
setup:
	@integration/setup

unit:
	go vet ./...
	go test -race -parallel 4 -timeout 40m ./...

fuzz:
	@integration/fuzz $(FUZZTIME)

# The built binary on a real mount, against real S3 servers.
integration: bin/sigilfs
	cd integration && go vet ./...
	cd integration && SIGILFS_BIN=$(CURDIR)/bin/sigilfs go test -race -timeout 60m -parallel 4 $$(go list ./... | grep -v /interop$$)
	cd integration && SIGILFS_LATENCY=$(LATENCY) SIGILFS_BIN=$(CURDIR)/bin/sigilfs go test -race -timeout 30m -parallel 8 -run '$(FAR)' .
	$(MAKE) demo ONCE=1

# What AWS's own S3 encryption clients write is read, and the other way round.
interop: bin/sigilfs
	cd integration/interop && SIGILFS_BIN=$(CURDIR)/bin/sigilfs go test -count=1 -timeout 15m

lint:
	$(GOLANGCI) run --allow-parallel-runners ./...
	cd integration && $(GOLANGCI) run --allow-parallel-runners --config ../.golangci.yml ./...
	@files=$$($(GOFUMPT) -l .) && test -z "$$files" || { echo "run gofumpt -w on: $$files" >&2; exit 1; }

clean:
	rm -rf bin
