# Builds and installs from a clone. `make` builds the programs and writes bin/; `make install` puts
# them with units, manual pages and completion below PREFIX, and `make package` makes a Debian
# package. RUNTIME=--runtime installs the Node.js of this machine along.

PREFIX ?= /usr/local
RUNTIME ?=
MANIFEST = $(DESTDIR)$(PREFIX)/lib/ipref/installed-files

.PHONY: all test ok clean install uninstall package

all:
	scripts/prepare.sh

test:
	./ipref test

ok:
	scripts/prepare.sh --all
	npm run ok

clean:
	rm -rf bin dist

# What an earlier version has installed and this one has not goes first.
install: all uninstall
	node scripts/package-tree.js --root "$(DESTDIR)" --prefix "$(PREFIX)" $(RUNTIME) >dist/installed-files
	cp dist/installed-files "$(MANIFEST)"

# The configuration, the mappings and the user stay.
uninstall:
	if [ -e "$(MANIFEST)" ]; then \
		while read -r file; do rm -f "$(DESTDIR)/$$file"; done <"$(MANIFEST)"; \
		rm -f "$(MANIFEST)"; \
		find "$(DESTDIR)$(PREFIX)/lib/ipref" "$(DESTDIR)$(PREFIX)/share/ipref" \
			"$(DESTDIR)$(PREFIX)/share/doc/ipref" -depth -type d -empty -delete 2>/dev/null || true; \
	fi

package: all
	node scripts/package-deb.js
