# IPREF gateway. `make` builds bin/gw, bin/coredns, bin/dns-agent, and the same programs under the
# names bin/ipref-gw, bin/ipref-coredns and bin/ipref-dns-agent.

PREFIX ?= /usr/local
LIBRARY = $(DESTDIR)$(PREFIX)/lib/ipref-gateway

.PHONY: all test ok clean install uninstall

all:
	scripts/prepare.sh

test:
	./ipref test

ok:
	scripts/prepare.sh --all
	npm run ok

clean:
	rm -rf bin dist

install: all
	mkdir -p "$(LIBRARY)" "$(DESTDIR)$(PREFIX)/bin"
	rm -rf "$(LIBRARY)/dist" "$(LIBRARY)/bin" "$(LIBRARY)/node_modules"
	mkdir -p "$(LIBRARY)/dist"
	cp -r dist/src "$(LIBRARY)/dist/"
	cp -r bin node_modules package.json package-lock.json "$(LIBRARY)/"
	cp LICENSE NOTICE README.md CHANGELOG.md "$(LIBRARY)/"
	cd "$(LIBRARY)" && npm prune --omit=dev --offline --no-audit --no-fund --loglevel=error
	ln -sf ../lib/ipref-gateway/bin/ipref-gw "$(DESTDIR)$(PREFIX)/bin/ipref-gw"
	ln -sf ../lib/ipref-gateway/bin/ipref-coredns "$(DESTDIR)$(PREFIX)/bin/ipref-coredns"
	ln -sf ../lib/ipref-gateway/bin/ipref-dns-agent "$(DESTDIR)$(PREFIX)/bin/ipref-dns-agent"

uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/ipref-gw" "$(DESTDIR)$(PREFIX)/bin/ipref-coredns" \
		"$(DESTDIR)$(PREFIX)/bin/ipref-dns-agent"
	rm -rf "$(LIBRARY)"
