# Every target works from a clean checkout. `make test` is the whole of it.

# Debian's tools (aws, python3 with cryptography) before anything that shadows
# them, and the Go toolchain where its installer puts it.
export PATH := /usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin:$(PATH)

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT := $(shell git rev-parse HEAD 2>/dev/null)
# What is made of the same sources at another time is the same.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
SOURCES := $(shell find cmd cache fs internal objcrypt systemd -name '*.go' 2>/dev/null) go.mod go.sum

# Seconds for each fuzz target in `make fuzz`, and so in `make test`.
FUZZTIME ?= 5

# What is run again by `make far` with its bucket a round trip away.
LATENCY := 15ms
FAR := Posix|Rsync|Tar|Cp|Restic|Borg|Git|SQLite|Fio|Link|Rsnapshot|Editors|UnlinkedOpenFile|RenameO|Sparse|Fallocate|Mmap|Append|ExclusiveCreate|RewriteOfAPart

GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT  := go run mvdan.cc/gofumpt@v0.12.0

# Where make install puts things. mount(8) looks for its helpers in /sbin,
# whatever PREFIX is; HELPED is what they are links to.
PREFIX ?= /usr/local
SBINDIR ?= /sbin
HELPED ?= $(PREFIX)/bin/sigilfs
UNITDIR ?= $(PREFIX)/lib/systemd/system
USERUNITDIR ?= $(PREFIX)/lib/systemd/user
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/sigilfs
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
HELPERS := mount.sigilfs mount.fuse.sigilfs umount.sigilfs umount.fuse.sigilfs
PAGES := sigilfs.1 mount.sigilfs.8 sigilfs.yaml.5
TOLD := $(PAGES:%=bin/man/%.gz) bin/completion/bash bin/completion/zsh bin/completion/fish
UNITS = $(wildcard systemd/*.service)
USERUNITS = $(wildcard systemd/user/*.service)

.PHONY: build install uninstall deb demo bench test test-full setup unit fuzz near near-first near-second far interop lint vuln clean force

# What a recipe has begun and not ended is no target.
.DELETE_ON_ERROR:

# All that make install installs, so that root makes nothing in a checkout of
# somebody else.
build: bin/sigilfs $(TOLD)

bin/sigilfs: $(SOURCES) bin/version
	CGO_ENABLED=0 go build -trimpath -buildvcs=$(if $(COMMIT),true,false) -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/sigilfs

# Changes when the version does, or the commit. Where git does not tell, as it
# may not tell root of what is another's, what was built stays.
force:
bin/version: force
	@mkdir -p bin
	@{ test -z '$(COMMIT)' && test -s $@; } || echo '$(VERSION) $(COMMIT)' | cmp -s - $@ || echo '$(VERSION) $(COMMIT)' >$@

# Manual pages and completions come from the binary itself.
bin/man/%.gz: bin/sigilfs
	@mkdir -p $(@D)
	bin/sigilfs manual $* >bin/man/$*
	gzip -9nf bin/man/$*

bin/completion/%: bin/sigilfs
	@mkdir -p $(@D)
	bin/sigilfs completion $* >$@

install: bin/sigilfs $(TOLD)
	install -Dm755 bin/sigilfs '$(DESTDIR)$(PREFIX)/bin/sigilfs'
	install -d '$(DESTDIR)$(SBINDIR)'
	set -e; for name in $(HELPERS); do ln -sfn '$(HELPED)' "$(DESTDIR)$(SBINDIR)/$$name"; done
	set -e; for page in $(PAGES); do install -Dm644 bin/man/$$page.gz "$(DESTDIR)$(MANDIR)/man$${page##*.}/$$page.gz"; done
	set -e; for name in $(filter-out mount.sigilfs,$(HELPERS)); do ln -sfn mount.sigilfs.8.gz "$(DESTDIR)$(MANDIR)/man8/$$name.8.gz"; done
	install -Dm644 bin/completion/bash '$(DESTDIR)$(BASHDIR)/sigilfs'
	install -Dm644 bin/completion/zsh '$(DESTDIR)$(ZSHDIR)/_sigilfs'
	install -Dm644 bin/completion/fish '$(DESTDIR)$(FISHDIR)/sigilfs.fish'
	install -d '$(DESTDIR)$(UNITDIR)' '$(DESTDIR)$(USERUNITDIR)'
	set -e; for unit in $(UNITS); do sed 's|/usr/bin/sigilfs|$(PREFIX)/bin/sigilfs|' $$unit >"$(DESTDIR)$(UNITDIR)/$${unit##*/}"; chmod 644 "$(DESTDIR)$(UNITDIR)/$${unit##*/}"; done
	set -e; for unit in $(USERUNITS); do sed 's|/usr/bin/sigilfs|$(PREFIX)/bin/sigilfs|' $$unit >"$(DESTDIR)$(USERUNITDIR)/$${unit##*/}"; chmod 644 "$(DESTDIR)$(USERUNITDIR)/$${unit##*/}"; done
	install -d '$(DESTDIR)$(DOCDIR)'
	install -m644 README.md CHANGELOG.md LICENSE docs/*.md docs/*.yml docs/*.py '$(DESTDIR)$(DOCDIR)'
	cp -RT docs/policies '$(DESTDIR)$(DOCDIR)/policies'
	cp -RT examples '$(DESTDIR)$(DOCDIR)/examples'
	cp -RT systemd/examples '$(DESTDIR)$(DOCDIR)/examples/systemd'
	install -m644 packaging/example.yaml '$(DESTDIR)$(DOCDIR)/examples'
	chmod -R u=rwX,go=rX '$(DESTDIR)$(DOCDIR)'

# Keys, configuration and what is not committed stay: /etc/sigilfs, /var/lib/sigilfs.
uninstall:
	rm -f '$(DESTDIR)$(PREFIX)/bin/sigilfs' $(HELPERS:%='$(DESTDIR)$(SBINDIR)/%') $(HELPERS:%='$(DESTDIR)$(MANDIR)/man8/%.8.gz')
	rm -f '$(DESTDIR)$(MANDIR)/man1/sigilfs.1.gz' '$(DESTDIR)$(MANDIR)/man5/sigilfs.yaml.5.gz'
	rm -f '$(DESTDIR)$(BASHDIR)/sigilfs' '$(DESTDIR)$(ZSHDIR)/_sigilfs' '$(DESTDIR)$(FISHDIR)/sigilfs.fish'
	rm -f $(UNITS:systemd/%='$(DESTDIR)$(UNITDIR)/%') $(USERUNITS:systemd/user/%='$(DESTDIR)$(USERUNITDIR)/%')
	rm -rf '$(DESTDIR)$(DOCDIR)'

# bin/sigilfs_VERSION_ARCH.deb.
deb: bin/sigilfs
	VERSION='$(VERSION)' SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' packaging/deb

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

# Tests on mounts mostly wait, and do so side by side.
test: setup unit fuzz
	$(MAKE) --output-sync -j3 near far interop

# What takes too long for every change: large files in full size, races in many
# rounds.
test-full: bin/sigilfs
	go test -timeout 30m ./internal/volume
	cd integration && SIGILFS_FULL=1 SIGILFS_BIN=$(CURDIR)/bin/sigilfs go test -count=1 -timeout 30m -v -run 'TestStreamInBoundedMemory|TestTwoHostsAtOnce|TestCopyMovesNoData' .

# Debian packages that the tests drive: restic, borg, fio and their like.
setup:
	@integration/setup

# The longest package first, beside which the others find room. Its models draw the
# same each time; SEED= has them draw anew.
unit: SEED ?= 20261123
unit:
	go vet ./...
	SIGILFS_SEED=$(SEED) go test -race -parallel 4 -timeout 40m ./internal/volume ./...

fuzz:
	@integration/fuzz $(FUZZTIME)

# The built binary on a real mount, against real S3 servers: in two halves of about
# the same length, which run side by side in `make test`.
near: near-first near-second
	cd integration && go vet ./...
	$(MAKE) demo ONCE=1

near-first: HALF := -run
near-second: HALF := -skip
near-first near-second: bin/sigilfs
	cd integration && SIGILFS_BIN=$(CURDIR)/bin/sigilfs go test -race -timeout 60m -parallel 4 $(HALF) '^Test[A-K]' $$(go list ./... | grep -v /interop$$)

far: bin/sigilfs
	cd integration && SIGILFS_LATENCY=$(LATENCY) SIGILFS_BIN=$(CURDIR)/bin/sigilfs go test -race -timeout 30m -parallel 8 -run '$(FAR)' .

# What AWS's own S3 encryption clients write is read, and the other way round.
interop: bin/sigilfs
	cd integration/interop && SIGILFS_BIN=$(CURDIR)/bin/sigilfs go test -count=1 -timeout 15m

lint:
	$(GOLANGCI) run --allow-parallel-runners ./...
	cd integration && $(GOLANGCI) run --allow-parallel-runners --config ../.golangci.yml ./...
	@files=$$($(GOFUMPT) -l .) && test -z "$$files" || { echo "run gofumpt -w on: $$files" >&2; exit 1; }
	@$(MAKE) --no-print-directory vuln

# Known vulnerabilities in what is linked and called.
vuln:
	@.ci/vuln

clean:
	rm -rf bin
