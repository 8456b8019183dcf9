package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// evil is what an attacker would like the back session to send.
const evil = "x\r\nEVIL DELETE Work\r\nEVIL SETACL Hidden someone2 lr\r\n"

// injections puts line ends and what is like them wherever a text can stand.
func injections(t *testing.T, s *siege) {
	const work = "shared/someone1/Work"
	for _, text := range []string{evil, "x\nEVIL DELETE Work\n", "x\rEVIL DELETE Work\r", "x\x00y", "x\" lr\r\nEVIL DELETE Work\r\n", "{5}\r\nEVIL", "\xff\xfe", "\u2028EVIL", `"`, `\`, "&AAA-", "&AA0ACg-EVIL DELETE Work&AA0ACg-", "(", "%0d%0aEVIL"} {
		arg := "<<" + strconv.QuoteToASCII(text)
		if strings.HasPrefix(text, "\xff") {
			arg = `<<"\xff\xfe"`
		}
		name := "<<" + strings.Replace(arg[2:], `"`, `"shared/someone1/`, 1)
		c := s.select2(t, "Work")
		for _, command := range []string{
			"SETACL " + work + " " + arg + " lr", "SETACL " + work + " someone9 " + arg, "DELETEACL " + work + " " + arg, "LISTRIGHTS " + work + " " + arg,
			"STATUS " + name + " (MESSAGES)", "SUBSCRIBE " + name, "UNSUBSCRIBE " + name, "MYRIGHTS " + name, "GETACL " + name, "DELETE " + name,
			"RENAME " + name + " shared/someone1/Work2", "RENAME shared/someone1/Hidden " + name, `LIST "" ` + name, "LIST " + name + " *", `LSUB "" ` + name,
			"COPY 1 " + name, "MOVE 1 " + name, "APPEND " + name + ` <<"Subject: x\r\n\r\nx\r\n"`, "CREATE " + name, "SETACL " + name + " someone9 lr",
			"SEARCH BODY " + arg, "SEARCH TEXT " + arg, "SEARCH SUBJECT " + arg, "SEARCH HEADER " + arg + " x", "SEARCH HEADER X " + arg, "SEARCH CHARSET " + arg + " ALL",
			"SEARCH CHARSET UTF-8 NOT BODY " + arg, "FETCH 1 BODY.PEEK[HEADER.FIELDS (" + arg + ")]", "FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (Subject " + arg + ")]",
			`ID ("name" ` + arg + ")", "SEARCH KEYWORD " + arg, "STORE 1 +FLAGS (" + arg + ")", "NOOP " + arg,
		} {
			c.command(command)
			tagged := c.answer[len(c.answer)-1]
			if strings.Contains(tagged, "SERVERBUG") || strings.Contains(tagged, "UNAVAILABLE") {
				t.Errorf("%s: %s", command, tagged)
			}
			undo(c, command, tagged)
			c.command("NOOP") // many BADs in a row end a connection
		}
		c.command("NOOP")
		c.expect("OK")
		c.close()
	}
}

// undo takes back what was allowed: an odd name need not be a bad one.
func undo(c *imapConn, command, tagged string) {
	words := strings.SplitN(command, " ", 3)
	if !strings.HasPrefix(tagged, "OK") {
		return
	}
	switch words[0] {
	case "SETACL":
		id := strings.TrimSuffix(strings.TrimPrefix(command, words[0]+" "+words[1]+" "), " lr")
		if !strings.HasPrefix(id, "<<") {
			id, _, _ = strings.Cut(id, " ")
		}
		c.command("DELETEACL " + words[1] + " " + id)
	case "SUBSCRIBE":
		c.command("UN" + command)
	}
}

// oddPlaces are names that would lead somewhere else if they were paths, or
// taken apart in two ways.
func oddPlaces(t *testing.T, s *siege) {
	c := s.select2(t, "Work")
	names := []string{
		"../someone1/Work", "../../../../etc/passwd", "/etc/passwd", "~", "~/x", "~root/x", "~someone1/Work", "./x", "x/../../y", "x//y", "x/", "/", "",
		"shared", "shared/", "shared//", "shared//Work", "shared/../someone1/Work", "shared/./someone1/Work", "shared/someone1//Work", "shared/someone1/../Hidden",
		"shared/someone1/./Work", "shared/someone1/~/x", "shared/someone1/shared/someone1/Work", "shared/someone1*someone2/Work", "shared/someone2*someone1/Work",
		"shared/nobody/x", "shared/someone1%00/Work", "shared/%u/Work", "shared/%%u/Work", "shared/$HOME/x", "shared/someone1\\/Work", "shared/../x", "shared/~/x",
		"shared/someone1/../../someone3/INBOX", "shared/SOMEONE3/INBOX", "shared/someone1/Hidden", "shared/someone1/INBOX", "shared/someone1", "shared/ someone1/Work",
		"shared/someone1 /Work", "shared/-/x", "shared/anyone/x", "shared/" + strings.Repeat("x", 900) + "/y", strings.Repeat("d/", 200) + "x", strings.Repeat("x", 2000),
		"shared/someone1.d/Work", "shared/someone1@example.org/Work", "INBOX/../x", "inbox/", "Shared/someone1/Work",
	}
	for _, name := range names {
		arg := "<<" + strconv.Quote(name)
		for _, command := range []string{
			"SELECT " + arg, "EXAMINE " + arg, "STATUS " + arg + " (MESSAGES)", "MYRIGHTS " + arg, "GETACL " + arg, "SETACL " + arg + " someone2 lr",
			"APPEND " + arg + ` <<"Subject: x\r\n\r\nx\r\n"`, "DELETE " + arg, "RENAME " + arg + " Mine", "SUBSCRIBE " + arg, "RENAME INBOX " + arg + "x", "CREATE " + arg,
			`LIST "" ` + arg, "LIST " + arg + " %",
		} {
			c.command(command)
			tagged := c.answer[len(c.answer)-1]
			if strings.Contains(tagged, "SERVERBUG") || strings.Contains(tagged, "UNAVAILABLE") {
				t.Errorf("%s: %s", command, tagged)
			}
			if strings.HasPrefix(name, "shared") && strings.HasPrefix(tagged, "OK") && !strings.HasPrefix(command, "LIST") {
				t.Errorf("%s: %s", command, tagged)
			}
			if strings.HasPrefix(command, "CREATE") && strings.HasPrefix(tagged, "OK") {
				c.command("DELETE " + arg)
			}
		}
	}
	homes, err := filepath.Glob(filepath.Join(s.root, "shared-fs/home/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, home := range homes {
		if entries, err := os.ReadDir(home); err != nil || len(entries) != 1 || !strings.HasPrefix(filepath.Base(home), "someone") {
			t.Errorf("%s holds %v, %v", home, entries, err)
		}
	}
}

// patterns are as dear as LIST can be made.
func patterns(t *testing.T, s *siege) {
	c := s.login(t, "someone4")
	long := strings.Repeat("a", 60)
	for i := range 40 {
		c.command(fmt.Sprintf("CREATE %s%d/%s", strings.Repeat(long+"/", 10), i, long))
		c.expect("OK")
	}
	for _, pattern := range []string{
		strings.Repeat("*%", 900) + "b", strings.Repeat("*a", 900) + "b", strings.Repeat("%a*", 600) + "/", strings.Repeat("*/", 900), strings.Repeat("%/", 900) + "*", strings.Repeat("*", 5000),
	} {
		for _, command := range []string{`LIST "" "`, `LSUB "" "`, `LIST "` + strings.Repeat("*", 900) + `" "`} {
			c.command(command + pattern + `"`)
		}
	}
	// Names without wildcards may be many, patterns may not.
	for _, row := range []struct{ list, want string }{
		{strings.Repeat("x ", 10_000) + "INBOX", "OK"},
		{strings.Repeat("x* ", 10_000) + "INBOX", "NO [LIMIT]"},
		{strings.Repeat("% ", 33) + "*", "NO [LIMIT]"},
		{strings.Repeat("("+strings.Repeat("a", 50), 60), "BAD"},
		{strings.Repeat("x ", 40_000) + "x", "BAD"},
	} {
		for _, command := range []string{`LIST "" (` + row.list + `)`, `LIST (SUBSCRIBED RECURSIVEMATCH) "" (` + row.list + `) RETURN (STATUS (MESSAGES SIZE) MYRIGHTS)`} {
			c.command(command)
			if tagged := c.answer[len(c.answer)-1]; !strings.HasPrefix(tagged, row.want) {
				t.Errorf("%.60s: got %q, want %q", command, tagged, row.want)
			}
		}
	}
	c.command("NOOP")
	c.expect("OK")
}

// manySets names messages in as many words as a line can hold.
func manySets(t *testing.T, s *siege) {
	c := s.select2(t, "Work")
	var numbers, gaps []string
	for i := range 9000 {
		numbers = append(numbers, strconv.Itoa(1+i%2))
		gaps = append(gaps, strconv.Itoa(2*i+1))
	}
	ones, sparse := strings.Join(numbers, ","), strings.Join(gaps, ",")
	for _, command := range []struct{ text, want string }{
		{"FETCH " + ones + " FLAGS", "OK"},
		{"UID FETCH " + sparse + " FLAGS", "OK"},
		{"UID FETCH 4294967295:1 FLAGS", "OK"},
		{"UID FETCH 1:4294967295 FLAGS", "OK"},
		{"FETCH 1:4294967295 FLAGS", "BAD"},
		{"UID FETCH 4294967296 FLAGS", "BAD"},
		{"UID FETCH 0 FLAGS", "BAD"},
		{"FETCH " + strings.Repeat("1:2,", 10_000) + "1 FLAGS", "OK"},
		{"UID SEARCH UID " + sparse, "OK"},
		{"SEARCH " + strings.Repeat("UID 1:4294967295 ", 1900) + "ALL", "OK"},
		{"SEARCH " + strings.Repeat("1:* ", 1900) + "ALL", "OK"},
		{"UID STORE " + sparse + " -FLAGS.SILENT (\\Draft)", "OK"},
		{"UID COPY " + sparse + " shared/someone1/Hidden", "NO [TRYCREATE]"},
		{"UID EXPUNGE " + sparse, "OK"},
	} {
		c.command(command.text)
		if tagged := c.answer[len(c.answer)-1]; !strings.HasPrefix(tagged, command.want) {
			t.Errorf("%.60s...: got %q, want %q", command.text, tagged, command.want)
		}
	}
}

// searchPrograms are at the limits of what the reader's backend takes: the
// owner's backend has to take them too.
func searchPrograms(t *testing.T, s *siege) {
	c := s.select2(t, "Work")
	own := s.login(t, "someone1")
	own.command("EXAMINE Work")
	nots := strings.Repeat("NOT ", 48)
	var ors strings.Builder
	for range 900 {
		ors.WriteString("OR SUBJECT one ")
	}
	for name, program := range map[string]string{
		"deep":        nots + "FLAGGED",
		"deeper":      "NOT " + nots + "FLAGGED",
		"deep of two": "ALL NOT " + nots + "FLAGGED",
		"lists":       strings.Repeat("(", 48) + "FLAGGED" + strings.Repeat(")", 48),
		"two lists":   "ALL " + strings.Repeat("(FLAGGED ", 48) + "ALL" + strings.Repeat(")", 48),
		"no message":  "NOT " + nots + "UID 4000000",
		"new":         "NOT " + nots + "NEW",
		"unseen":      "NOT " + nots + "UNSEEN",
		"keys":        strings.Repeat("FLAGGED ", 1998) + "ALL",
		"ors":         strings.Repeat("OR UID 1 ", 48) + "UID 2",
		"many":        strings.Repeat("OR SUBJECT one SUBJECT two ", 600) + "ALL",
		"text":        "BODY " + `<<"` + strings.Repeat("x", 8192) + `"`,
		"texts":       strings.TrimSpace(strings.Repeat(`NOT BODY <<"`+strings.Repeat("y", 4000)+`" `, 15)),
		"8-bit":       "CHARSET UTF-8 NOT BODY " + `<<"` + strings.Repeat("\u00e4", 4000) + `"`,
	} {
		own.command("UID SEARCH " + program)
		c.command("UID SEARCH " + program)
		if got, want := strings.Join(c.answer, "\n"), strings.Join(own.answer, "\n"); got != want {
			t.Errorf("%s: through the hop %q, at home %q", name, tail([]byte(got), 200), tail([]byte(want), 200))
		}
	}
}

func appendLimits(t *testing.T, s *siege) {
	c := s.select2(t, "Playground")
	for _, name := range []string{"shared/someone1/Playground", "INBOX"} {
		for _, row := range []struct{ args, want string }{
			{`<<""`, "NO Can't save a zero byte message"},
			{`<<"x"`, "OK [APPENDUID"},
			{`<<"x" <<""`, "NO Can't save a zero byte message"},
			{`<<"\r\n"`, "OK [APPENDUID"},
			{`(\Recent) <<"x"`, "BAD"},
			{`(\Foo) <<"x"`, "BAD"},
			{"(" + strings.Repeat("a", 300) + `) <<"x"`, "BAD"},
			{"(" + strings.Join(slices.Repeat([]string{"k"}, 301), " ") + `) <<"x"`, "BAD"},
			{`"32-Jan-2026 00:00:00 +0000" <<"x"`, "BAD"},
			{`"01-Jan-0001 00:00:00 +0000" <<"x"`, "OK"},
			{`"31-Dec-9999 23:59:59 -1400" <<"x"`, "OK"},
			{`<<"a\x00b"`, ""},
			{`<<"` + strings.Repeat("Subject: x\\r\\n", 20_000) + `\r\nbody"`, "OK"},
			{`<<"` + strings.Repeat("y", 1<<20) + `"`, "OK"},
		} {
			c.command("APPEND " + name + " " + row.args)
			if tagged := c.answer[len(c.answer)-1]; !strings.HasPrefix(tagged, row.want) {
				t.Errorf("APPEND %s %.60s: got %q, want %q", name, row.args, tagged, row.want)
			}
		}
	}
	c.command("FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)")
	c.matched = len(c.answer) - 1
	c.expect("OK")
}

func copyOntoItself(t *testing.T, s *siege) {
	c := s.select2(t, "Playground")
	count := func() int {
		c.command("STATUS shared/someone1/Playground (MESSAGES)")
		n, _ := strconv.Atoi(strings.TrimSuffix(c.answer[0][strings.LastIndexByte(c.answer[0], ' ')+1:], ")"))
		return n
	}
	for range 4 {
		before := count()
		c.command("COPY 1:* shared/someone1/Playground")
		c.expect("OK [COPYUID")
		if after := count(); after != 2*before {
			t.Fatalf("%d messages became %d", before, after)
		}
	}
	before := count()
	c.command("MOVE 1:* shared/someone1/Playground")
	c.matched = len(c.answer) - 1
	c.expect("OK")
	if after := count(); after != before {
		t.Fatalf("MOVE made %d of %d messages", after, before)
	}
}

// metadataAbuse fills annotations to their limits, and asks for them in the
// dearest ways.
func metadataAbuse(t *testing.T, s *siege) {
	const work = "shared/someone1/Work"
	c := s.select2(t, "Work")
	value := `<<"` + strings.Repeat("v", 32<<10) + `"`
	deep := "/private" + strings.Repeat("/d", 120)
	names := func(n int, name string) string { return strings.TrimSpace(strings.Repeat(name+" ", n)) }
	for _, name := range []string{work, "INBOX"} {
		for _, row := range []struct{ command, want string }{
			{"SETMETADATA " + name + " (/private/a " + value + ")", "OK"},
			{"SETMETADATA " + name + ` (/private/a <<"` + strings.Repeat("v", 32<<10+1) + `")`, "NO [METADATA MAXSIZE 32768]"},
			{"SETMETADATA " + name + ` (/private/a <<"` + strings.Repeat("v", 70<<10) + `")`, ""},
			{"SETMETADATA " + name + " (" + deep + ` "x")`, "OK"},
			{"SETMETADATA " + name + " (" + deep + strings.Repeat("/d", 10) + ` "x")`, "BAD"},
			{"GETMETADATA (DEPTH infinity) " + name + " (" + names(900, "/private") + ")", "OK"},
			{"GETMETADATA (DEPTH infinity MAXSIZE 0) " + name + " (/private /shared)", "OK [METADATA LONGENTRIES 32768]"},
			{"GETMETADATA " + name + " (" + names(1001, "/private/x") + ")", "NO [LIMIT]"},
			{"GETMETADATA (" + names(100, "DEPTH infinity") + ") " + name + " " + deep, "OK"},
			{"SETMETADATA " + name + " (" + names(1001, "/private/x NIL") + ")", "NO [LIMIT]"},
			{"SETMETADATA " + name + " (/private/a NIL " + deep + " NIL)", "OK"},
		} {
			c.command(row.command)
			if tagged := c.answer[len(c.answer)-1]; !strings.HasPrefix(tagged, row.want) {
				t.Errorf("%.80s: got %.100q, want %q", row.command, tagged, row.want)
			}
		}
		for i := range 12 { // until there is no more room
			c.command(fmt.Sprintf("SETMETADATA %s (/private/n%d %s)", name, i, value))
		}
		c.command("GETMETADATA (DEPTH infinity) " + name + " /private")
		c.matched = len(c.answer) - 1
		c.expect("OK")
		for i := range 12 {
			c.command(fmt.Sprintf("SETMETADATA %s (/private/n%d NIL)", name, i))
			c.expect("OK")
		}
	}
}
