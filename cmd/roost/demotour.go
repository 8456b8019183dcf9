package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tourStep is one command of the tour and what must be in its answer: each of
// want is the beginning of a line, in this order.
type tourStep struct {
	comment string
	who     string
	send    string
	want    []string
	not     []string // beginnings that no line may have
}

// The answers that the tour asks for. A step that does not answer so ends it.
var tourSteps = [...]tourStep{
	{
		comment: "someone2 looks around: his own mail, and what others share with him.",
		who:     "someone2", send: "NAMESPACE", want: []string{`* NAMESPACE (("" "/")) (("shared/" "/")) NIL`, "OK"},
	},
	{who: "someone2", send: `LIST "" "*"`, want: []string{
		`* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\Noselect \HasChildren) "/" shared`, `* LIST (\Noselect \HasChildren) "/" shared/someone1`,
		`* LIST (\HasNoChildren) "/" shared/someone1/Projects`, "OK",
	}, not: []string{`* LIST (\HasNoChildren) "/" shared/someone1/Private`}},
	{who: "someone2", send: "MYRIGHTS shared/someone1/Projects", want: []string{"* MYRIGHTS shared/someone1/Projects lrs", "OK"}},
	{
		comment: "He opens it: the mail is on the other backend, the rights are his.",
		who:     "someone2", send: "SELECT shared/someone1/Projects", want: []string{`* OK [PERMANENTFLAGS (\Seen)]`, "* 7 EXISTS", "OK [READ-WRITE]"},
	},
	{who: "someone2", send: "FETCH 1:6 (FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])", want: []string{"* 1 FETCH", "* 6 FETCH", "OK"}},
	{who: "someone2", send: "FETCH 4 (ENVELOPE BODYSTRUCTURE)", want: []string{"* 4 FETCH", "OK"}},
	{who: "someone2", send: `SEARCH TEXT "force 9"`, want: []string{"* SEARCH 4", "OK"}},
	{
		comment: "What he marks as read is his alone: someone1 does not see it.",
		who:     "someone2", send: `STORE 1 +FLAGS (\Seen)`, want: []string{`* 1 FETCH (FLAGS (\Seen)`, "OK"},
	},
	{who: "someone1", send: "SELECT Projects", want: []string{"* 7 EXISTS", "OK [READ-WRITE]"}},
	{who: "someone1", send: "FETCH 1 FLAGS", want: []string{`* 1 FETCH (FLAGS (\Recent))`, "OK"}},
	{
		comment: "What he may not do is refused, and nothing changes.",
		who:     "someone2", send: `STORE 1 +FLAGS (\Flagged)`, want: []string{"NO [NOPERM]"},
	},
	{who: "someone1", send: "FETCH 1 FLAGS", want: []string{`* 1 FETCH (FLAGS (\Recent))`, "OK"}},
}

// tour performs the dialogue and prints it.
func (d *demoCluster) tour(ctx context.Context, out io.Writer) error {
	t := &tour{out: io.Discard, addr: d.listeners[0].Addr().String(), people: map[string]*tourist{}}
	defer t.close()
	if err := t.prepare(ctx); err != nil {
		return fmt.Errorf("preparing the tour: %w", err)
	}
	t.out = out
	for _, s := range tourSteps {
		if err := t.step(ctx, s); err != nil {
			return err
		}
	}
	return t.push(ctx)
}

type tour struct {
	out    io.Writer
	addr   string
	people map[string]*tourist
}

// prepare fills someone1's mailboxes and shares one of them.
func (t *tour) prepare(ctx context.Context) error {
	ok := []string{"OK"}
	steps := []tourStep{
		{who: "someone1", send: "CREATE Projects", want: ok},
		{who: "someone1", send: "CREATE Private", want: ok},
	}
	names, err := fs.Glob(demoFiles, "demomail/*.eml")
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		text, err := demoFiles.ReadFile(name)
		if err != nil {
			return err
		}
		steps = append(steps, tourStep{who: "someone1", send: fmt.Sprintf("APPEND Projects {%d+}\r\n%s", len(text), text), want: ok})
	}
	steps = append(steps, tourStep{who: "someone1", send: "SETACL Projects someone2 lrs", want: ok})
	for _, s := range steps {
		if err := t.step(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// push shows that an APPEND of the owner reaches the reader's IDLE at once.
func (t *tour) push(ctx context.Context) error {
	bob, err := t.person(ctx, "someone2")
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "\n# someone2 waits; someone1 adds a message; someone2 hears of it.\n")
	if err := bob.idle(); err != nil {
		return err
	}
	text := "Subject: The north quay is open\r\n\r\nAt last.\r\n"
	start := time.Now()
	if err := t.step(ctx, tourStep{who: "someone1", send: fmt.Sprintf("APPEND Projects {%d+}\r\n%s", len(text), text), want: []string{"* 8 EXISTS", "OK [APPENDUID"}}); err != nil {
		return err
	}
	line, err := bob.line()
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "someone2 < %s      %s after someone1 began\n", line, time.Since(start).Round(100*time.Microsecond))
	if !strings.HasPrefix(line, "* 8 EXISTS") {
		return fmt.Errorf("someone2's IDLE heard %q, expected * 8 EXISTS", line)
	}
	return bob.done()
}

// step sends one command and checks its answer.
func (t *tour) step(ctx context.Context, s tourStep) error {
	p, err := t.person(ctx, s.who)
	if err != nil {
		return err
	}
	if s.comment != "" {
		fmt.Fprintf(t.out, "\n# %s\n", s.comment)
	}
	answer, err := p.command(s.send)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", s.who, shorten(s.send), err)
	}
	rest := answer
	for _, want := range s.want {
		i := slices.IndexFunc(rest, func(line string) bool { return strings.HasPrefix(line, want) })
		if i < 0 {
			return fmt.Errorf("%s: %s: expected %q, got\n  %s", s.who, shorten(s.send), want, strings.Join(answer, "\n  "))
		}
		rest = rest[i+1:]
	}
	for _, not := range s.not {
		if slices.ContainsFunc(answer, func(line string) bool { return strings.HasPrefix(line, not) }) {
			return fmt.Errorf("%s: %s: answered %q", s.who, shorten(s.send), not)
		}
	}
	return nil
}

// person is someone's connection, logged in when first needed.
func (t *tour) person(ctx context.Context, name string) (*tourist, error) {
	if p := t.people[name]; p != nil {
		p.out = t.out
		return p, nil
	}
	conn, err := (&net.Dialer{Timeout: tourPatience}).DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return nil, err
	}
	p := &tourist{name: name, conn: conn, r: bufio.NewReader(conn), out: t.out}
	t.people[name] = p
	greeting, err := p.line()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(t.out, "\n# %s connects to the director.\n%s < %s\n", name, name, greeting)
	answer, err := p.command("LOGIN " + name + " " + demoPassword)
	if err != nil {
		return nil, err
	}
	if last := answer[len(answer)-1]; !strings.HasPrefix(last, "OK") {
		return nil, fmt.Errorf("%s can't log in: %s", name, last)
	}
	return p, nil
}

func (t *tour) close() {
	for _, p := range t.people {
		_ = p.conn.Close()
	}
}

// tourPatience bounds each wait of the tour.
const tourPatience = 20 * time.Second

// tourist is a client that shows what it sends and receives.
type tourist struct {
	name string
	conn net.Conn
	r    *bufio.Reader
	out  io.Writer
	tag  int
}

func (p *tourist) send(text string) error {
	fmt.Fprintf(p.out, "%s > %s\n", p.name, shorten(text))
	_ = p.conn.SetDeadline(time.Now().Add(tourPatience))
	_, err := io.WriteString(p.conn, text+"\r\n")
	return err
}

// command returns the lines of the answer, the tagged one without its tag.
func (p *tourist) command(text string) ([]string, error) {
	p.tag++
	tag := fmt.Sprintf("a%d ", p.tag)
	if err := p.send(tag + text); err != nil {
		return nil, err
	}
	var answer []string
	for {
		line, err := p.line()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(p.out, "%s < %s\n", p.name, shorten(line))
		rest, tagged := strings.CutPrefix(line, tag)
		answer = append(answer, rest)
		if tagged {
			return answer, nil
		}
	}
}

func (p *tourist) idle() error {
	p.tag++
	if err := p.send(fmt.Sprintf("a%d IDLE", p.tag)); err != nil {
		return err
	}
	line, err := p.line()
	if err == nil && !strings.HasPrefix(line, "+") {
		err = fmt.Errorf("%s: IDLE answered %q", p.name, line)
	}
	return err
}

func (p *tourist) done() error {
	if err := p.send("DONE"); err != nil {
		return err
	}
	line, err := p.line()
	if err == nil {
		fmt.Fprintf(p.out, "%s < %s\n", p.name, line)
	}
	return err
}

var tourLiteral = regexp.MustCompile(`\{(\d+)\}$`)

// line reads a response; a literal in it is read along and shown as its size.
func (p *tourist) line() (string, error) {
	var b strings.Builder
	for {
		part, err := p.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		part = strings.TrimRight(part, "\r\n")
		b.WriteString(part)
		m := tourLiteral.FindStringSubmatch(part)
		if m == nil {
			return b.String(), nil
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return "", err
		}
		text := make([]byte, min(n, 1<<20))
		if _, err := io.ReadFull(p.r, text); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, " %q", text)
	}
}

// shorten keeps a line of the dialogue readable.
func shorten(s string) string {
	s, _, _ = strings.Cut(s, "\r\n")
	const width = 160
	if r := []rune(s); len(r) > width {
		return string(r[:width]) + " …"
	}
	return s
}
