# The two commands of the README, and the long proofs.

CARGO ?= cargo
PROBE := target/release/tso-probe
# Real packets need root; as root there may be no sudo.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

BUILD_PACKAGES := gcc libc6-dev libpcap-dev
TEST_PACKAGES := iproute2 nftables tshark python3 procps coturn libre-dev openssl strace
# For one test; where a distribution has no such packages, it is skipped.
BROWSER_PACKAGES := chromium chromium-driver

# What captures are read with beside `analyze`; one that is missing is skipped, aloud.
BENCH_PACKAGES := tcpdump tcptrace tshark

# Each part says how long it took.
define part
	@echo "== $(1)"; begun=$$(date +%s); $(2) && echo "== $(1): $$(($$(date +%s) - begun)) s"
endef

.PHONY: demo test prove bench fuzz build build-packages test-packages captures picture

demo: build
	$(SUDO) $(PROBE) classify --lab

build: build-packages
	$(CARGO) build --release --locked

test: build-packages test-packages
	$(call part,format,$(CARGO) fmt --check)
	$(call part,lints,$(CARGO) clippy --locked --all-targets --quiet -- -D warnings)
	$(call part,documentation,RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --quiet)
	$(call part,tests built,$(CARGO) test --locked --no-run --quiet)
	$(call part,tests,$(CARGO) test --locked --no-fail-fast)

# The proofs at full length; what they print belongs in docs/proofs/.
prove: build-packages test-packages
	scripts/prove

bench: build-packages
	@scripts/install $(BENCH_PACKAGES) || echo "== not all of these are here: $(BENCH_PACKAGES)"
	$(CARGO) bench --locked

# Feeds whatever reads what others sent with octets that nobody would send, for a minute each.
fuzz: build-packages
	scripts/fuzz

# Writes captures/ afresh; `git diff` then shows what has changed.
captures: build
	scripts/captures $(PROBE)

# Writes docs/classify.svg, the picture in README.md, afresh.
picture: build
	@scripts/install python3
	scripts/picture $(PROBE)

build-packages:
	@scripts/install $(BUILD_PACKAGES)

test-packages:
	@scripts/install $(TEST_PACKAGES)
	@scripts/install $(BROWSER_PACKAGES) || echo "== no browser here: its test will be skipped"
