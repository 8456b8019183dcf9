package admin

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/commands.md")

const docsHead = `# Operations

Generated from the table in the package admin; change it there, and run
` + "`go test ./admin -run TestDocs -update`" + `.

Each is a command of ` + "`roost`" + ` and a call of the HTTP API: ` + "`POST /v1/`" + ` and the name with slashes for
spaces, with its arguments as a JSON object ([operations.md](operations.md#administration)). Names, columns and exit codes
are doveadm's where doveadm has them. Besides what is below, every command takes ` + "`-c FILE`" + ` or ` + "`--socket PATH`" + ` for a
server of this machine, ` + "`--server https://HOST:PORT --token-file FILE [--ca-file FILE]`" + ` for another one, and ` + "`--json`" + `.
`

// TestDocs holds docs/commands.md to the table, so that every operation is there.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString(docsHead)
	for _, op := range Operations() {
		fmt.Fprintf(&b, "\n## %s\n\n%s.", op.Name, op.Help)
		if op.Long != "" {
			fmt.Fprintf(&b, " %s", op.Long)
		}
		fmt.Fprintf(&b, "\n\n    roost %s\n", op.Usage())
		for _, name := range op.names() {
			fmt.Fprintf(&b, "    roost %s %s\n", name, strings.TrimPrefix(op.Usage(), op.Name+" "))
		}
		b.WriteString("\n")
		if len(op.Args) > 0 {
			b.WriteString("| argument | type | |\n|---|---|---|\n")
		}
		for _, a := range op.Args {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", docsArg(a), a.Type, docsHelp(a))
		}
		if len(op.Args) > 0 {
			b.WriteString("\n")
		}
		b.WriteString(docsRight(&op) + "\n")
	}
	const path = "../docs/commands.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != b.String() {
		t.Errorf("%s differs from the table (%v); run the test with -update and read the change", path, err)
	}
}

// docsRight is who may call it.
func docsRight(op *Operation) string {
	if op.Changes == "" {
		return "A token that may read is enough."
	}
	text := "Changes " + op.Changes + ": the token must be one that may operate"
	if op.DryRun != "" {
		text += ", except with `--" + op.DryRun + "`"
	}
	if op.OnlyWith != "" {
		text = strings.Replace(text, "Changes", "With `--"+op.OnlyWith+"` it changes", 1)
	}
	if op.Slow {
		text += ". It takes time, and tells its progress"
	}
	return text + "."
}

func docsArg(a Arg) string {
	if !a.Flag {
		return strings.ToUpper(a.Name)
	}
	text := "--" + a.Name
	if a.Short != "" {
		text = "-" + a.Short + ", " + text
	}
	return text
}

func docsHelp(a Arg) string {
	text := a.Help
	if a.Default != "" {
		text += " (" + a.Default + ")"
	}
	return text
}
