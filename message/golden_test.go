package message

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fixtures is all of testdata/*.eml by name.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	all := make(map[string][]byte)
	for _, path := range paths {
		msg, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".eml")] = msg
	}
	return all
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	msg, ok := fixtures(t)[name]
	if !ok {
		t.Fatalf("no fixture %s", name)
	}
	return msg
}

// TestGolden compares what each testdata/*.eml gives with the golden file
// beside it. With -update it writes them; read the difference.
func TestGolden(t *testing.T) {
	for name, msg := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			got := describe(ScanBytes(msg), msg)
			path := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// describe shows a digest for people. Each part has its section number and
// the first and last bytes of its body.
func describe(d *Digest, msg []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "ENVELOPE %s\n", printable(d.Envelope))
	fmt.Fprintf(&b, "BODYSTRUCTURE %s\n", printable(d.BodyStructure))
	fmt.Fprintf(&b, "BODY %s\n", printable(d.AppendBody(nil)))
	if d.SentDate.Valid {
		fmt.Fprintf(&b, "sent %s\n", d.SentDate.Time().Format("2006-01-02 15:04:05 -0700"))
	}
	for _, s := range sections(d) {
		p := d.Parts[s.index]
		fmt.Fprintf(&b, "%-8s %s", s.name, p.Type)
		if len(p.Charset) > 0 {
			fmt.Fprintf(&b, " %s", p.Charset)
		}
		fmt.Fprintf(&b, " header %d+%d body %d+%d lines %d", p.HeaderOff, p.HeaderLen, p.BodyOff(), p.BodyLen, p.Lines)
		body := msg[p.BodyOff() : p.BodyOff()+p.BodyLen]
		if len(body) > 60 {
			fmt.Fprintf(&b, " %.28q ... %q\n", body, body[len(body)-28:])
		} else {
			fmt.Fprintf(&b, " %q\n", body)
		}
	}
	return b.Bytes()
}

// printable keeps the text of literals readable and golden files of one line
// an item.
func printable(b []byte) string {
	q := fmt.Sprintf("%q", b)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

type section struct {
	name  string
	path  []int
	index int32
}

// sections is every section number of a message with the part it must find,
// by walking down the tree: the opposite way to Find.
func sections(d *Digest) []section {
	var all []section
	var entity func(i int32, path []int)
	add := func(i int32, path []int) {
		name := strings.Trim(strings.ReplaceAll(fmt.Sprint(path), " ", "."), "[]")
		all = append(all, section{name, append([]int(nil), path...), i})
	}
	var inside func(i int32, path []int)
	inside = func(i int32, path []int) {
		n := 0
		for c := i + 1; c < d.Parts[i].End; c = d.Parts[c].End {
			n++
			sub := append(path, n)
			add(c, sub)
			switch d.Parts[c].Kind {
			case KindMultipart:
				inside(c, sub)
			case KindMessage:
				entity(c+1, sub)
			}
		}
	}
	entity = func(i int32, path []int) {
		if d.Parts[i].Kind == KindMultipart {
			inside(i, path)
			return
		}
		path = append(path, 1)
		add(i, path)
		if d.Parts[i].Kind == KindMessage {
			entity(i+1, path)
		}
	}
	entity(0, nil)
	return all
}

// TestSectionsOfFixtures checks that each number leads to the part that the
// tree has there.
func TestSectionsOfFixtures(t *testing.T) {
	for name, msg := range fixtures(t) {
		d := ScanBytes(msg)
		for _, s := range sections(d) {
			if i, ok := d.Find(s.path); !ok || i != s.index {
				t.Errorf("%s: section %s finds part %d, %v, want %d", name, s.name, i, ok, s.index)
			}
		}
	}
}
