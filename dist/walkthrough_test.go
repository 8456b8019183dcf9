package dist

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWalkthrough types what docs/operations.md says below "A cluster from nothing": on
// machines of its own, with the package that dist/build made, and compares what comes back
// with what is printed there.
func TestWalkthrough(t *testing.T) {
	deb := packages(t, "roost_*.deb", "dpkg", "nsenter", "ip", "curl", "openssl")
	walk(t, deb, walkSteps(t, "operations.md", "A cluster from nothing"))
}

// TestCoordinatorLost goes on where the cluster of that document has a shared mailbox, and types
// what docs/cluster.md says for when the coordinator has lost everything.
func TestCoordinatorLost(t *testing.T) {
	deb := packages(t, "roost_*.deb", "dpkg", "nsenter", "ip", "curl", "openssl")
	steps := walkSteps(t, "operations.md", "A cluster from nothing")
	until := slices.IndexFunc(steps, func(s walkStep) bool { return s.part == "### One more backend" })
	walk(t, deb, append(steps[:until:until], walkSteps(t, "cluster.md", "Backup, and what if it is wiped")...))
}

// walk takes the steps. The first is the file /etc/hosts, which says what machines there are.
func walk(t *testing.T, deb string, steps []walkStep) {
	t.Helper()
	if testing.Short() || os.Getuid() != 0 {
		t.Skip("it takes half a minute, and root")
	}
	inWorld(t, func(t *testing.T) {
		m := newMachines(t, deb)
		for _, line := range steps[0].lines[2:] {
			words := strings.Fields(line)
			m.add(t, words[1], words[0], strings.HasPrefix(words[1], "be"))
		}
		begun := time.Now()
		for _, s := range steps {
			t.Logf("%5.1fs %s:%d: %s# %s", time.Since(begun).Seconds(), s.doc, s.line, s.hosts, s.text())
			m.take(t, &s)
		}
	})
}

// take takes a step, on several machines at once if it is for several.
func (m *machines) take(t *testing.T, s *walkStep) {
	t.Helper()
	failed := make(chan error)
	hosts := m.named(s.hosts)
	for _, host := range hosts {
		go func() { failed <- s.on(m.all[host]) }()
	}
	var err error
	for range hosts {
		err = errors.Join(err, <-failed)
	}
	if err != nil {
		t.Fatalf("%s:%d: %v", s.doc, s.line, err)
	}
}

// named are the machines that a word of the document stands for.
func (m *machines) named(word string) []string {
	switch word {
	case "directors":
		return []string{"director1", "director2", "director3"}
	case "backends":
		return []string{"be1", "be2"}
	case "all":
		return slices.Sorted(maps.Keys(m.all))
	}
	return []string{word}
}

// walkStep is a command, or a file, of the document.
type walkStep struct {
	doc   string
	line  int
	part  string // the heading of the third level that it is below
	hosts string
	file  string   // that is written; "" for a command
	lines []string // of the file, or of the command
	want  []string // what the command prints
}

func (s *walkStep) text() string {
	if s.file != "" {
		return "edit " + s.file
	}
	return s.lines[0]
}

var (
	walkFile   = regexp.MustCompile(`^# (/\S+) on (\S+)$`)
	walkAsks   = regexp.MustCompile(`^roost \S+ (ring )?status\b`)
	walkPrompt = regexp.MustCompile(`^([a-z0-9]+)# (.*)$`)
)

// walkSteps reads the steps of a section of a document.
func walkSteps(t *testing.T, doc, section string) (steps []walkStep) {
	t.Helper()
	text := read(t, "../docs/"+doc)
	within, part, kind := false, "", "" // kind is the block's: "", console or file
	for i, line := range strings.Split(text, "\n") {
		last := len(steps) - 1
		switch {
		case strings.HasPrefix(line, "## "):
			within = line == "## "+section
		case !within:
		case strings.HasPrefix(line, "### "):
			part = line
		case kind == "" && line == "```console":
			kind = "console"
		case kind == "" && line == "```":
			kind = "begun"
		case line == "```":
			kind = ""
		case kind == "begun":
			m := walkFile.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("line %d: %q is no name of a file", i+1, line)
			}
			kind = "file"
			steps = append(steps, walkStep{doc: doc, line: i + 1, part: part, file: m[1], hosts: m[2], lines: []string{line}})
		case kind == "file":
			steps[last].lines = append(steps[last].lines, line)
		case kind == "console":
			if m := walkPrompt.FindStringSubmatch(line); m != nil {
				steps = append(steps, walkStep{doc: doc, line: i + 1, part: part, hosts: m[1], lines: []string{m[2]}})
			} else if more, is := strings.CutPrefix(line, "> "); is {
				steps[last].lines = append(steps[last].lines, more)
			} else {
				steps[last].want = append(steps[last].want, line)
			}
		}
	}
	if len(steps) < 5 {
		t.Fatalf("%s: %d steps found", doc, len(steps))
	}
	return steps
}

// walkPatience is how long a status may take to become what it should.
const walkPatience = 30 * time.Second

// on takes the step on one machine. What asks for a status is asked again until it is
// what the document says, as whoever reads it would.
func (s *walkStep) on(n *machine) error {
	if n == nil {
		return errors.New("there is no such machine")
	}
	text := strings.Join(s.lines, "\n")
	if s.file != "" {
		return os.WriteFile(filepath.Join(n.root, s.file), []byte(text+"\n"), 0o644)
	}
	asks := walkAsks.MatchString(text)
	for end := time.Now().Add(walkPatience); ; time.Sleep(100 * time.Millisecond) {
		out, err := n.try(text)
		wrong := s.compare(out)
		switch {
		case err == nil && wrong == "":
			return nil
		case !asks || time.Now().After(end):
			return fmt.Errorf("%s# %s: %v: %s; it printed\n%s\njournal:\n%s", n.name, text, err, wrong, out, n.log())
		}
	}
}

// log is the end of what Roost has logged there.
func (n *machine) log() string {
	text, _ := n.try("tail -40 " + journal)
	return text
}

// compare says where what was printed is not what the document has; "" if it is.
// A line … stands for any lines, … in a line for anything, and spaces for spaces.
func (s *walkStep) compare(out string) string {
	var got []string
	for line := range strings.Lines(out) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			got = append(got, line)
		}
	}
	var want []*regexp.Regexp
	for _, line := range s.want {
		var p *regexp.Regexp
		if line = strings.Join(strings.Fields(line), " "); line == "" {
			continue
		}
		if line != "…" {
			p = regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + "$")
		}
		want = append(want, p)
	}
	return walkCompare(got, want)
}

// walkCompare compares lines; nil among want is any number of lines.
func walkCompare(got []string, want []*regexp.Regexp) string {
	for i, p := range want {
		if p == nil {
			for at := range len(got) + 1 {
				if walkCompare(got[at:], want[i+1:]) == "" {
					return ""
				}
			}
			return "some of it is missing"
		}
		switch {
		case len(got) == 0:
			return fmt.Sprintf("%s is missing", p)
		case !p.MatchString(got[0]):
			return fmt.Sprintf("%q is not %s", got[0], p)
		}
		got = got[1:]
	}
	if len(got) > 0 {
		return fmt.Sprintf("%q is not in the document", got[0])
	}
	return ""
}
