package imapwire

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/roost-mail/roost/imap"
)

var fuzzLimits = Limits{Line: 300, Literal: 100, Held: 200, Depth: 6, ListItems: 20, Drain: 2000}

// readCommands is a server's loop in small. Its result is what the server
// understood; no command may be understood in two ways.
func readCommands(r io.Reader) (trace []string) {
	d := NewDecoder(r, fuzzLimits)
	d.ContinueFunc = func() error { trace = append(trace, "+"); return nil }
	for {
		var tag, name string
		if d.ExpectTag(&tag) && d.ExpectSP() && d.ExpectAtom(&name) {
			trace = append(trace, tag+" "+name+readArguments(d, name))
			d.ExpectCRLF()
		}
		if err := d.Err(); err != nil {
			trace = append(trace, "error "+err.Error())
		}
		if d.SkipLine() != nil {
			return trace
		}
		d.Release()
	}
}

// readArguments parses as each command would, and shows what it got.
func readArguments(d *Decoder, command string) string {
	var a, b string
	var flags []imap.Flag
	var n uint32
	var size uint64
	var at time.Time
	switch strings.ToUpper(command) {
	case "LOGIN":
		_ = d.ExpectSP() && d.ExpectAString(&a) && d.ExpectSP() && d.ExpectAString(&b)
	case "LIST":
		_ = d.ExpectSP() && d.ExpectMailbox(&a) && d.ExpectSP() && d.ExpectListMailbox(&b)
	case "STORE":
		_ = d.ExpectSP() && d.ExpectSeqSet(&a) && d.ExpectSP() && d.Atom(&b) && d.ExpectSP() && d.ExpectStoreFlags(&flags)
	case "FETCH":
		if d.ExpectSP() && d.ExpectNumber(&n) && d.ExpectSP() {
			value, _ := d.RawValue()
			a = string(value)
		}
	case "ID":
		if d.ExpectSP() {
			_ = d.List(func() error { d.ExpectNString(&a, nil); b += a; return d.Err() })
		}
	case "SEARCH":
		_ = d.ExpectSP() && d.ExpectDate(&at) && d.ExpectSP() && d.ExpectNumber64(&size)
	case "APPEND":
		if d.ExpectSP() && d.ExpectMailbox(&a) && d.ExpectSP() && d.FlagList(&flags) && d.ExpectSP() && d.ExpectDateTime(&at) && d.ExpectSP() {
			b = readLiteral(d)
		}
	default:
		_ = d.Text(&a)
	}
	return fmt.Sprint(" ", a, b, flags, n, size, at.Unix())
}

// readLiteral takes small literals and refuses others.
func readLiteral(d *Decoder) string {
	l, err := d.LiteralReader()
	if err != nil || l.Size > 500 || l.Accept() != nil {
		return "refused"
	}
	content, _ := io.ReadAll(l)
	return string(content)
}

var commandSeeds = []string{
	"a NOOP\r\nb CAPABILITY\n",
	"a LOGIN ann \"p\\\"w\"\r\n",
	"a LOGIN {3}\r\nann {2+}\r\npw\r\n",
	"a LIST \"\" %\r\nb LIST inbox Entw&APw-r*\r\n",
	"a STORE 1:*,5 +FLAGS (\\Seen $Junk)\r\nb STORE $ FLAGS \\Deleted x\r\n",
	"a FETCH 5 (UID BODY.PEEK[HEADER.FIELDS (From \"To\")]<0.5> ({2+}\r\n))))\r\n",
	"a ID (\"name\" NIL {1}\r\nx \"y\")\r\n",
	"a SEARCH 1-Jan-2024 99\r\n",
	"a APPEND INBOX (\\Seen) \" 1-Jan-2024 10:00:00 +0000\" {12+}\r\na NOOP\r\n\r\n\r\n\r\n",
	"a APPEND INBOX (\\Seen) \" 1-Jan-2024 10:00:00 +0000\" ~{600}\r\nb NOOP\r\n",
	"a LOGIN {600+}\r\nb LOGIN {600}\r\n",
	"a X {99999999999999999999999+}\r\n",
	strings.Repeat("x", 400) + "{5+}\r\nab\r\nc\r\na NOOP\r\n",
	"\"{2+}\r\n\r\n\r\n(((((((((\r\n",
}

func FuzzDecoderServer(f *testing.F) {
	for _, s := range commandSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		want := readCommands(bytes.NewReader(in))
		if len(want) > len(in)+2 {
			t.Errorf("%d events from %d bytes", len(want), len(in))
		}
		compareTraces(t, want, readCommands(iotest.OneByteReader(bytes.NewReader(in))))
		compareTraces(t, want, readCommands(iotest.DataErrReader(bytes.NewReader(in))))
	})
}

func compareTraces(t *testing.T, want, got []string) {
	t.Helper()
	if fmt.Sprintf("%q", want) != fmt.Sprintf("%q", got) {
		t.Errorf("understood in two ways:\n%q\n%q", want, got)
	}
}

// readResponses is a client's loop in small.
func readResponses(r io.Reader) (trace []string) {
	d := NewDecoder(r, fuzzLimits)
	for {
		var tag, word, args, text string
		var n uint32
		switch {
		case d.Special('+'):
			_ = d.ExpectSP() && d.Text(&text)
		case d.Special('*'):
			if d.ExpectSP() && d.Number(&n) {
				d.ExpectSP()
			}
			_ = d.ExpectAtom(&word)
			text = readData(d, word)
		case d.ExpectTag(&tag):
			_ = d.ExpectSP() && d.ExpectAtom(&word) && d.ExpectSP() && d.Code(&args, &args)
			_ = d.Text(&text)
		}
		d.ExpectCRLF()
		trace = append(trace, fmt.Sprint(tag, n, word, args, text, d.Err()))
		if d.SkipLine() != nil {
			return trace
		}
	}
}

func readData(d *Decoder, word string) string {
	var got []string
	if word != "FETCH" || !d.ExpectSP() {
		return ""
	}
	_ = d.List(func() error {
		var item string
		var flags []imap.Flag
		_ = d.ExpectAtom(&item)
		if d.Special('[') {
			_, _ = d.Atom(&item), d.ExpectSpecial(']')
		}
		d.ExpectSP()
		b, _ := d.PeekByte()
		switch {
		case item == "FLAGS":
			d.ExpectFlagList(&flags)
		case b == '{':
			item += readLiteral(d)
		default:
			value, _ := d.RawValue()
			item += string(value)
		}
		got = append(got, item, fmt.Sprint(flags))
		return d.Err()
	})
	return strings.Join(got, "|")
}

func FuzzDecoderClient(f *testing.F) {
	for _, s := range append([]string{
		"* OK [CAPABILITY IMAP4rev1] ready\r\n",
		"* 12 FETCH (UID 5 FLAGS (\\Seen) ENVELOPE (\"d\" NIL ((NIL NIL {3}\r\nann \"x\"))) BODY[1] {5}\r\n)\r\n\r\n BODY[] NIL)\r\n",
		"* 12 FETCH (BODY[] {600}\r\n",
		"* LIST () \"/\" {5}\r\na\r\nb \r\na1 OK [APPENDUID 1 2] done\r\n",
		"+ idling\r\na1 NO [X",
	}, commandSeeds...) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		want := readResponses(bytes.NewReader(in))
		compareTraces(t, want, readResponses(iotest.OneByteReader(bytes.NewReader(in))))
	})
}

// What is captured reads as the same value again, and cannot end a line early.
func FuzzRawValue(f *testing.F) {
	for _, s := range []string{
		`("a" NIL ("b" "\"") 12)`, "(a {5}\r\n)\r\n\r\n ~{1}\r\n\x00)", "NIL", `\Seen`, `"x\\"`, "{00002}\n\r\n", "~", "(~)", "~{1}\r\n)", "((((((",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		in = append(in, "\r\n"...)
		value, err := NewDecoder(bytes.NewReader(in), fuzzLimits).RawValue()
		if err != nil {
			return
		}
		if len(value) > fuzzLimits.Line+int(fuzzLimits.Held)+100 {
			t.Errorf("value of %d bytes", len(value))
		}
		d := NewDecoder(bytes.NewReader(append(bytes.Clone(value), "\r\nnext\r\n"...)), fuzzLimits)
		again, err := d.RawValue()
		if err != nil || !bytes.Equal(again, value) {
			t.Errorf("%q becomes %q, %v", value, again, err)
		}
		wantNext(t, d)
	})
}

// What one side writes, the other reads the same.
func FuzzRoundTrip(f *testing.F) {
	f.Add("ann", "p\"w\\ \r\n", "\\Seen", uint64(5), int64(1704103200), []byte("body\r\n\x00"), false)
	f.Add("", "NIL", "$Junk", uint64(1)<<62, int64(-1), []byte{}, true)
	f.Add("Entwürfe&", "\xff\x00", "", uint64(0), int64(0), []byte("{5+}\r\n"), true)
	f.Fuzz(func(t *testing.T, name, s, flag string, n uint64, unix int64, body []byte, utf8OK bool) {
		name, n = strings.ToValidUTF8(name, "?"), n>>1
		if utf8OK {
			name = strings.ReplaceAll(name, "\x00", "?")
		}
		at := time.Unix(unix%(1<<32), 0).UTC()
		var out bytes.Buffer
		e := NewEncoder(&out)
		e.UTF8 = utf8OK
		e.Mailbox(name).SP().String(s).SP().AString(s).SP().NString(s).SP().Number64(n).SP().DateTime(at).SP()
		e.Literal8(int64(len(body)), bytes.NewReader(body)).SP().Text(s).CRLF()
		e.Flag(imap.Flag(flag)).CRLF()
		flagErr := e.Flush()

		d := NewDecoder(&out, Limits{Line: 1 << 20, Literal: 1 << 20})
		d.UTF8 = utf8OK
		var gotName, gotString, gotAString, gotNString, gotText string
		var gotN uint64
		var gotAt time.Time
		ok := d.ExpectMailbox(&gotName) && d.ExpectSP() && d.ExpectString(&gotString) && d.ExpectSP() && d.ExpectAString(&gotAString) &&
			d.ExpectSP() && d.ExpectNString(&gotNString, nil) && d.ExpectSP() && d.ExpectNumber64(&gotN) && d.ExpectSP() && d.ExpectDateTime(&gotAt) && d.ExpectSP()
		if !ok {
			t.Fatal(d.Err())
		}
		l, err := d.LiteralReader()
		if err != nil {
			t.Fatal(err)
		}
		gotBody, err := io.ReadAll(l)
		if err != nil || !d.ExpectSP() || !d.Text(&gotText) || !d.ExpectCRLF() {
			t.Fatal(err, d.Err())
		}
		clean := strings.ReplaceAll(s, "\x00", "?")
		if gotName != imap.CanonicalName(name) || gotString != clean || gotAString != clean || gotNString != clean || gotN != n || !gotAt.Equal(at) || !bytes.Equal(gotBody, body) {
			t.Errorf("%q %q %q %q %d %v %q", gotName, gotString, gotAString, gotNString, gotN, gotAt, gotBody)
		}
		var gotFlag imap.Flag
		if flagErr == nil && (!d.ExpectFlag(&gotFlag) || string(gotFlag) != flag || !d.ExpectCRLF()) {
			t.Errorf("flag %q is %q, %v", flag, gotFlag, d.Err())
		}
		if _, ok := d.PeekByte(); ok || d.Err() != io.EOF {
			t.Errorf("more than was written: %v", d.Err())
		}
	})
}

func BenchmarkDecodeCommand(b *testing.B) {
	r := &endless{line: []byte("a142 UID FETCH 1:500,700 (UID FLAGS \"x y\")\r\n")}
	d := NewDecoder(r, Limits{})
	b.SetBytes(int64(len(r.line)))
	b.ReportAllocs()
	for b.Loop() {
		var tag, word, set string
		ok := d.ExpectTag(&tag) && d.ExpectSP() && d.ExpectAtom(&word) && d.ExpectSP() && d.ExpectAtom(&word) && d.ExpectSP() && d.ExpectSeqSet(&set) && d.ExpectSP() &&
			d.List(func() error { d.ExpectAString(&word); return d.Err() }) == nil && d.ExpectCRLF()
		if !ok {
			b.Fatal(d.Err())
		}
	}
}

func BenchmarkDecodeFetchResponse(b *testing.B) {
	r := &endless{line: []byte("* 123 FETCH (UID 123 ENVELOPE (\"Mon, 1 Jan 2024 10:00:00 +0000\" \"Re: the minutes\" ((\"Ann\" NIL \"ann\" \"example.org\")) NIL NIL NIL NIL NIL NIL \"<1@example.org>\"))\r\n")}
	d := NewDecoder(r, Limits{})
	b.SetBytes(int64(len(r.line)))
	b.ReportAllocs()
	for b.Loop() {
		var n uint32
		var word string
		ok := d.Special('*') && d.SP() && d.ExpectNumber(&n) && d.SP() && d.ExpectAtom(&word) && d.SP() && d.List(func() error {
			if !d.ExpectAtom(&word) || !d.ExpectSP() {
				return d.Err()
			}
			_, err := d.RawValue()
			return err
		}) == nil && d.ExpectCRLF()
		if !ok {
			b.Fatal(d.Err())
		}
	}
}

// endless repeats a line.
type endless struct {
	line []byte
	at   int
}

func (r *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		k := copy(p[n:], r.line[r.at:])
		n += k
		r.at = (r.at + k) % len(r.line)
	}
	return n, nil
}
