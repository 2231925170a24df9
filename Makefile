# make build    firn for this machine, into ./firn
# make try      build it, and show a backup and a restore in a temporary folder
# make test     all tests
# make check    formatting, go vet, staticcheck, known vulnerabilities
# make bench    firn beside its peers (BENCH="--only firn/src --rounds 3")
# make fuzz     every fuzz target for FUZZTIME
# make man      manual pages, into ./build/man
# make docs     what is made by the program in docs: reference, configuration, figures and pictures of the guide
# make release  static, reproducible programs for all TARGETS, with SHA256SUMS, into ./dist

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
TARGETS ?= linux/amd64 linux/arm64 linux/armv7 darwin/amd64 darwin/arm64 freebsd/amd64 freebsd/arm64 windows/amd64 windows/arm64
FUZZTIME ?= 60s
BENCH   ?=

# Nothing of the machine, its paths or the time of building goes into the program: the same source gives the same bytes.
FLAGS = -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X firn/internal/cli.Version=$(VERSION)'

.PHONY: build try man docs test check bench fuzz release clean $(TARGETS)

build:
	CGO_ENABLED=0 $(GO) build $(FLAGS) -o firn ./cmd/firn

try: build
	./try.sh

man: build
	@mkdir -p build/man
	./firn man build/man

docs:
	UPDATE=1 $(GO) test ./internal/cli -count=1 -run 'TestReference$$|TestGuide$$|TestConfigPage$$'

test:
	$(GO) test -timeout 30m ./...

check:
	.ci/run format vet staticcheck vulnerabilities

bench:
	$(GO) run ./bench $(BENCH)

fuzz:
	FUZZTIME=$(FUZZTIME) FUZZTOTAL=0 .ci/run fuzz

release: $(TARGETS)
	cd dist && sha256sum firn-* > SHA256SUMS

$(TARGETS): os = $(word 1,$(subst /, ,$@))
$(TARGETS): arch = $(word 2,$(subst /, ,$@))
$(TARGETS):
	@mkdir -p dist
	CGO_ENABLED=0 GOOS=$(os) GOARCH=$(if $(filter armv7,$(arch)),arm,$(arch)) GOARM=$(if $(filter armv7,$(arch)),7,) GOFLAGS= \
		$(GO) build $(FLAGS) -o dist/firn-$(VERSION)-$(os)-$(arch)$(if $(filter windows,$(os)),.exe,) ./cmd/firn

clean:
	rm -rf firn firn.exe build dist
