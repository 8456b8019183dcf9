package config

import (
	"fmt"
	"strings"
	"testing"
)

const docsHead = `# Settings

Generated from the table in the package config; change it there, and run
` + "`go test ./config -run TestDocs -update`" + `.

Roost reads Dovecot 2.3's configuration. Each setting is one of these:

- **implemented**: it does what it does in Dovecot, or what its line says;
- **accepted**: it is read and not used; a value other than the default gives one warning;
- **refused**: a value other than the default is an error, for something would be weaker if it were ignored.

A name that is not here is an error. A name that ends in ` + "`*`" + ` stands for all names that begin so.
In the column "default", "" is an empty value. Marks: **%** the value may hold variables like ` + "`%u`" + `;
**user** a userdb field may set it for one user, as ` + "`userdb_NAME`" + `; **secret** ` + "`roost config show`" + ` hides it.

The blocks ` + "`local NET { }` and `local_name NAME { }`" + `, also the second in the first, hold certificates: ` + "`ssl_cert`, `ssl_key`, `ssl_alt_cert` and `ssl_alt_key`" + `.
Other settings in them, and the block ` + "`remote`" + `, are refused: Roost has one set of settings for all connections.
` + "`protocol imap { }`" + ` and ` + "`protocol !NAME { }`" + ` lie over the rest; other protocols' blocks are read and not used.
` + "`dict { }`" + ` names dictionaries, for ` + "`proxy::NAME`" + `. ` + "`metric { }` and `event_exporter { }`" + ` are read and not used.
`

// TestDocs holds docs/settings.md to the table.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString(docsHead)
	for _, g := range table() {
		fmt.Fprintf(&b, "\n## %s\n\n| setting | type | default | class | |\n|---|---|---|---|---|\n", g.title)
		for _, r := range g.rows {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.Name, docsType(r), docsCode(r.Default), r.Class, docsText(r))
		}
	}
	golden(t, "../docs/settings.md", b.String())
}

func docsType(r Row) string {
	text := r.Type.String()
	if r.Type == Enum {
		text += " " + strings.Join(r.Enum, ", ")
	}
	if r.Vars {
		text += ", %"
	}
	if r.User {
		text += ", user"
	}
	if r.Secret {
		text += ", secret"
	}
	return text
}

func docsCode(s string) string {
	if s == "" {
		return `""`
	}
	return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
}

func docsText(r Row) string {
	text := strings.ReplaceAll(r.Help, "|", `\|`)
	switch {
	case r.Class == Accepted:
		text += " *Not used: " + r.Reason + ".*"
	case r.Class == Refused:
		text += " *Refused: " + r.Reason + ".*"
	case r.Only != nil:
		text += fmt.Sprintf(" *Only `%s`: %s.*", strings.Join(r.Only, "`, `"), r.Reason)
	}
	return strings.ReplaceAll(text, "<", "&lt;")
}
