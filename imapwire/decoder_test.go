package imapwire

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/roost-mail/roost/imap"
)

// readers gives the same bytes whole, one by one, and so that they lie across
// the end of the first buffer.
func readers(s string) map[string]io.Reader {
	return map[string]io.Reader{
		"whole":     strings.NewReader(s),
		"bytes":     iotest.OneByteReader(strings.NewReader(s)),
		"last+err":  iotest.DataErrReader(strings.NewReader(s)),
		"straddles": strings.NewReader(straddle(s)),
	}
}

// straddle puts lines before s, so that its middle is at the end of a buffer.
func straddle(s string) string {
	pad := readSize - len(s)/2 - 2
	if pad < 0 {
		return s
	}
	return strings.Repeat("p", pad) + "\r\n" + s
}

func decodersOf(t *testing.T, s string, lim Limits, run func(t *testing.T, d *Decoder)) {
	for how, r := range readers(s) {
		t.Run(how, func(t *testing.T) {
			d := NewDecoder(r, lim)
			if how == "straddles" {
				var pad string
				if len(s)/2+2 > readSize || !d.Text(&pad) || !d.CRLF() {
					t.Skip("does not fit")
				}
			}
			run(t, d)
		})
	}
}

// token runs one primitive and shows what came out.
func token[T any](f func(*Decoder, *T) bool) func(*Decoder) (string, bool) {
	return func(d *Decoder) (string, bool) {
		var v T
		ok := f(d, &v)
		return fmt.Sprint(v), ok
	}
}

func nstring(d *Decoder, s *string) bool {
	var null bool
	ok := d.ExpectNString(s, &null)
	if null {
		*s = "<NIL>"
	}
	return ok
}

func raw(d *Decoder, s *string) bool {
	b, err := d.RawValue()
	*s = string(b)
	return err == nil
}

func code(d *Decoder, s *string) bool {
	var name, args string
	ok := d.Code(&name, &args)
	*s = name + "|" + args
	return ok
}

var primitives = map[string]func(*Decoder) (string, bool){
	"tag":       token((*Decoder).ExpectTag),
	"atom":      token((*Decoder).ExpectAtom),
	"astring":   token((*Decoder).ExpectAString),
	"string":    token((*Decoder).ExpectString),
	"nstring":   token(nstring),
	"quoted":    token((*Decoder).QuotedString),
	"set":       token((*Decoder).ExpectSeqSet),
	"flag":      token((*Decoder).ExpectFlag),
	"flags":     token((*Decoder).ExpectFlagList),
	"store":     token((*Decoder).ExpectStoreFlags),
	"number":    token((*Decoder).ExpectNumber),
	"number64":  token((*Decoder).ExpectNumber64),
	"mailbox":   token((*Decoder).ExpectMailbox),
	"pattern":   token((*Decoder).ExpectListMailbox),
	"date-time": token((*Decoder).ExpectDateTime),
	"date":      token((*Decoder).ExpectDate),
	"text":      token((*Decoder).Text),
	"raw":       token(raw),
	"code":      token(code),
}

func TestDecoderTokens(t *testing.T) {
	tests := []struct{ primitive, in, want, rest string }{
		{"tag", "a.1 NOOP", "a.1", " NOOP"},
		{"tag", "A]1 x", "A]1", " x"},
		{"atom", "NOOP", "NOOP", ""},
		{"atom", "BODY[1]", "BODY", "[1]"},
		{"atom", "a)b", "a", ")b"},
		{"atom", "x%y", "x", "%y"},
		{"astring", "foo]bar x", "foo]bar", " x"},
		{"astring", `dom\user x`, `dom\user`, " x"},
		{"astring", `[Gmail]/x`, `[Gmail]/x`, ""},
		{"astring", `NIL`, `NIL`, ""},
		{"astring", `~x`, `~x`, ""},
		{"astring", `~`, `~`, ""},
		{"astring", `"a b" x`, `a b`, " x"},
		{"astring", "{3+}\r\na b x", "a b", " x"},
		{"astring", "~{3+}\r\na\x00b x", "a\x00b", " x"},
		{"string", `""`, "", ""},
		{"string", `"a\"b\\c"`, `a"b\c`, ""},
		{"string", `"\x"`, `x`, ""},
		{"string", `"é` + "\xff" + `"`, "é\xff", ""},
		{"string", "{0+}\r\n x", "", " x"},
		{"string", "{0005+}\r\n(\r\n){)", "(\r\n){", ")"},
		{"string", "{3+}\na\nb x", "a\nb", " x"},
		{"quoted", `"a" x`, "a", " x"},
		{"nstring", "NIL)", "<NIL>", ")"},
		{"nstring", "nil", "<NIL>", ""},
		{"nstring", `"NIL"`, "NIL", ""},
		{"nstring", `""`, "", ""},
		{"set", "1:*,$ x", "1:*,$", " x"},
		{"flag", `\Seen)`, `\Seen`, ")"},
		{"flag", `$Junk`, `$Junk`, ""},
		{"flag", `\*)`, `\*`, ")"},
		{"flag", `a[b`, `a[b`, ""},
		{"flags", `() x`, `[]`, " x"},
		{"flags", `(\Seen) x`, `[\Seen]`, " x"},
		{"flags", `(\Seen key \*)`, `[\Seen key \*]`, ""},
		{"store", `(\Seen key)`, `[\Seen key]`, ""},
		{"store", `\Seen key`, `[\Seen key]`, ""},
		{"number", "0", "0", ""},
		{"number", "007)", "7", ")"},
		{"number", "4294967295", "4294967295", ""},
		{"number64", "9223372036854775807", "9223372036854775807", ""},
		{"number64", "00000000000000000000000000000001", "1", ""},
		{"mailbox", "inBOX", "INBOX", ""},
		{"mailbox", "{5+}\r\ninbox", "INBOX", ""},
		{"mailbox", "Entw&APw-rfe", "Entwürfe", ""},
		{"mailbox", `"A&-B c"`, "A&B c", ""},
		{"pattern", `Entw&APw-r%*`, `Entwür%*`, ""},
		{"pattern", `%`, `%`, ""},
		{"pattern", `Entw&AP*`, `Entw&AP*`, ""},
		{"pattern", `""`, ``, ""},
		{"date-time", `" 1-Jan-2024 10:00:00 +0000"`, "2024-01-01 10:00:00 +0000 UTC", ""},
		{"date", "1-Feb-2024 x", "2024-02-01 00:00:00 +0000 UTC", " x"},
		{"date", `"29-Feb-2024"`, "2024-02-29 00:00:00 +0000 UTC", ""},
		{"text", "hello ( é \" {5+", "hello ( é \" {5+", ""},
		{"text", "", "", ""},
		{"raw", "NIL x", "NIL", " x"},
		{"raw", "~)", "~", ")"},
		{"raw", `"a)\"b" x`, `"a)\"b"`, " x"},
		{"raw", `() x`, `()`, " x"},
		{"raw", `(("a" NIL)("b" "\\)") 12 \Seen) x`, `(("a" NIL)("b" "\\)") 12 \Seen)`, " x"},
		{"raw", "{002+}\r\n() x", "{2}\r\n()", " x"},
		{"raw", "(a {3+}\n)\r\n b) x", "(a {3}\r\n)\r\n b)", " x"},
		{"raw", "~{2+}\r\n\x00) x", "~{2}\r\n\x00)", " x"},
		{"raw", "(~{2+}\r\n\x00)) x", "(~{2}\r\n\x00))", " x"},
		{"code", "[ALERT] x", "ALERT|", " x"},
		{"code", `[PERMANENTFLAGS (\Seen \*)] x`, `PERMANENTFLAGS|(\Seen \*)`, " x"},
	}
	for _, tt := range tests {
		t.Run(tt.primitive+" "+tt.in, func(t *testing.T) {
			decodersOf(t, tt.in+"\r\nnext\r\n", Limits{}, func(t *testing.T, d *Decoder) {
				got, ok := primitives[tt.primitive](d)
				var rest string
				d.Text(&rest)
				if !ok || got != tt.want || rest != tt.rest || d.Err() != nil {
					t.Errorf("got %q, %v, rest %q, error %v", got, ok, rest, d.Err())
				}
				wantNext(t, d)
			})
		})
	}
}

// wantNext checks that the decoder finds the next line.
func wantNext(t *testing.T, d *Decoder) {
	t.Helper()
	d.CRLF()
	if err := d.SkipLine(); err != nil {
		t.Fatalf("skip: %v", err)
	}
	var next string
	if !d.Text(&next) || next != "next" || !d.CRLF() {
		t.Errorf("next line is %q, error %v", next, d.Err())
	}
}

// What is not the token is a BAD answer, and the next line is found.
func TestDecoderSyntaxErrors(t *testing.T) {
	tests := []struct{ primitive, in, want string }{
		{"tag", "", "Expected tag"},
		{"tag", "+", "Expected tag"},
		{"tag", "{5+}\r\nabcde", "Expected tag"},
		{"atom", "(x)", "Expected atom"},
		{"atom", "é", "Expected atom"},
		{"atom", "\x00", "Expected atom"},
		{"astring", "é", "Expected atom or string"},
		{"astring", ")", "Expected atom or string"},
		{"string", "x", "Expected string"},
		{"string", `"abc`, "Missing closing quote"},
		{"string", "\"a\x00\"", "Missing closing quote"},
		{"string", `"abc\`, "Invalid quoted string"},
		{"string", "\"a\rb\"", "Missing closing quote"},
		{"string", "{}", "Invalid literal size"},
		{"string", "{+}\r", "Invalid literal size"},
		{"string", "{-1}", "Invalid literal size"},
		{"string", "{000000000000000000000} x", "Invalid literal size"},
		{"string", "{5+", `Expected "}"`},
		{"string", "{5} x", "Expected line end after literal size"},
		{"string", "~x", `Expected "{"`},
		{"string", "{1+}\r\n\x00", "NUL in literal"},
		{"nstring", "NILL", "Expected string or NIL"},
		{"nstring", "NI", "Expected string or NIL"},
		{"set", "x", "Expected sequence set"},
		{"flag", `\`, "Invalid flag"},
		{"flag", `\\Seen`, "Invalid flag"},
		{"flag", `(`, "Expected flag"},
		{"flags", `\Seen`, "Expected list of flags"},
		{"flags", `(\Seen`, "Expected space"},
		{"flags", `(\Seen )`, "Expected flag"},
		{"flags", `( \Seen)`, "Expected flag"},
		{"store", `\Seen `, "Expected flag"},
		{"store", `)`, "Expected flags"},
		{"number", "x", "Expected number"},
		{"number", "-1", "Expected number"},
		{"number", "4294967296", "Number is too great"},
		{"number64", "9223372036854775808", "Number is too great"},
		{"number64", strings.Repeat("9", 100), "Number is too great"},
		{"mailbox", "&", "[CANNOT] Invalid mailbox name: " + ErrName.Error()},
		{"date-time", `"1-Jan-2024"`, "Invalid date"},
		{"date", `31-Feb-2024`, "Invalid date"},
		{"raw", "", "Expected value"},
		{"raw", ")", "Expected value"},
		{"raw", "(a\x00)", "Expected value"},
		{"raw", "(a", "Expected value"},
		{"raw", `("a`, "Missing closing quote"},
		{"raw", `("a\`, "Invalid quoted string"},
		{"raw", "(a {3)", `Expected "}"`},
		{"code", "[", "Expected atom"},
		{"code", "[X ]", "Invalid response code"},
		{"code", "[X (a", `Expected "]"`},
	}
	for _, tt := range tests {
		t.Run(tt.primitive+" "+tt.in, func(t *testing.T) {
			decodersOf(t, tt.in+"\r\nnext\r\n", Limits{}, func(t *testing.T, d *Decoder) {
				_, ok := primitives[tt.primitive](d)
				if ok || d.Err() == nil || d.Err().Error() != tt.want {
					t.Errorf("ok %v, error %v", ok, d.Err())
				}
				if _, isIMAP := errors.AsType[*imap.Error](d.Err()); !isIMAP {
					t.Errorf("error is a %T", d.Err())
				}
				wantNext(t, d)
			})
		})
	}
}

// A token that is not there costs nothing: the next one may be tried.
func TestDecoderTriesConsumeNothing(t *testing.T) {
	d := NewDecoder(strings.NewReader("(x\r\n"), Limits{})
	var s string
	var n uint32
	var f imap.Flag
	var l []imap.Flag
	var at time.Time
	tried := []bool{
		d.SP(), d.CRLF(), d.Tag(&s), d.Atom(&s), d.AString(&s), d.String(&s), d.NString(&s, nil), d.NIL(), d.SeqSet(&s),
		d.Flag(&f), d.Number(&n), d.Mailbox(&s), d.ListMailbox(&s), d.DateTime(&at), d.Date(&at), d.Code(&s, &s), d.Special(')'),
	}
	if !reflect.DeepEqual(tried, make([]bool, len(tried))) || d.Err() != nil {
		t.Errorf("tries: %v, error %v", tried, d.Err())
	}
	if d.FlagList(&l); len(l) != 1 {
		t.Errorf("flags %v", l)
	}
}

func TestDecoderLimits(t *testing.T) {
	lim := Limits{Line: 100, Literal: 10, Held: 15, Depth: 3, ListItems: 4}
	deep := func(d *Decoder) error {
		var item func() error
		item = func() error {
			if b, _ := d.PeekByte(); b == '(' {
				return d.List(item)
			}
			d.Atom(new(string))
			return nil
		}
		return d.List(item)
	}
	text := func(d *Decoder) error { d.Text(new(string)); return d.Err() }
	two := func(d *Decoder) error { d.AString(new(string)); d.SP(); d.AString(new(string)); return d.Err() }
	rawValue := func(d *Decoder) error { _, err := d.RawValue(); return err }
	tests := []struct {
		name, in string
		do       func(*Decoder) error
		ok       bool
	}{
		{"line", strings.Repeat("x", 100), text, true},
		{"long line", strings.Repeat("x", 101), text, false},
		{"very long line", strings.Repeat("x", 10_000), text, false},
		{"long line with literals", strings.Repeat("x", 10_000) + "{5+}\r\nab\r\nc{3+}\r\nx\r\n", text, false},
		{"long line with literal that is not sent", strings.Repeat("x", 10_000) + "{5}", text, false},
		{"literals", "{10+}\r\n0123456789 {5+}\r\n01234", two, true},
		{"long literal", "{11+}\r\n0123456789a", two, false},
		{"long literal with line ends", "{12+}\r\n0123\r\n{9+}\r\n", two, false},
		{"long literal that is not sent", "{999999999999}", two, false},
		{"overflow that is not sent", "{99999999999999999999}", two, false},
		{"literals together", "{10+}\r\n0123456789 {6+}\r\n012345", two, false},
		{"depth", "(((x)))", deep, true},
		{"too deep", "((((x))))", deep, false},
		{"items", "(x x (x) x)", deep, true},
		{"too many items", "(x x x x x)", deep, false},
		{"raw", "(((x)))", rawValue, true},
		{"raw too deep", "((((x))))", rawValue, false},
		{"raw too long", "(" + strings.Repeat("x", 100) + ")", rawValue, false},
		{"raw literal too long", "({11+}\r\n0123456789a)", rawValue, false},
		{"raw literals together", "({10+}\r\n0123456789{6+}\r\n012345)", rawValue, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for how, r := range readers(tt.in + "\r\nnext\r\n") {
				if how == "straddles" {
					continue
				}
				d := NewDecoder(r, lim)
				d.ContinueFunc = func() error { return nil }
				err := tt.do(d)
				if tt.ok && err != nil || !tt.ok && !errors.Is(err, ErrTooLong) {
					t.Errorf("%s: error is %v", how, err)
				}
				if e := imap.AsError(err); err != nil && !e.Bad {
					t.Errorf("%s: answer is %v", how, e)
				}
				wantNext(t, d)
			}
		})
	}
}

// The drain has a bound as well: then there is only closing.
func TestDecoderDrainLimit(t *testing.T) {
	lim := Limits{Line: 10, Drain: 10_000}
	for name, in := range map[string]string{
		"line":          strings.Repeat("x", 20_000) + "\r\nnext\r\n",
		"literal":       "({20000+}\r\n",
		"overflow":      "({99999999999999999999999+}\r\n",
		"many literals": strings.Repeat("(((((((((((({500+}\r\n"+strings.Repeat("x", 500), 21) + "\r\nnext\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			d := NewDecoder(strings.NewReader(in), lim)
			d.ContinueFunc = func() error { return nil }
			d.ExpectAtom(new(string))
			for range 2 {
				if err := d.SkipLine(); !errors.Is(err, ErrTooLong) {
					t.Errorf("error is %v", err)
				}
			}
			if d.CRLF() || d.Text(new(string)) || d.Err() == nil {
				t.Error("goes on after the end")
			}
		})
	}
}

func TestDecoderReaderErrors(t *testing.T) {
	gone := errors.New("gone")
	tests := []struct {
		in   string
		err  error
		want error
	}{
		{"", io.EOF, io.EOF},
		{"a", io.EOF, io.ErrUnexpectedEOF},
		{"{5+}\r\nab", io.EOF, io.ErrUnexpectedEOF},
		{"{5+}\r\nab", gone, gone},
		{"", gone, gone},
		{"\"ab", gone, gone},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			d := NewDecoder(io.MultiReader(strings.NewReader(tt.in), iotest.ErrReader(tt.err)), Limits{})
			if d.ExpectAString(new(string)) || !errors.Is(d.Err(), tt.want) || d.SkipLine() != d.Err() {
				t.Errorf("error is %v", d.Err())
			}
			if _, isIMAP := errors.AsType[*imap.Error](d.Err()); isIMAP {
				t.Error("looks like a syntax error")
			}
		})
	}
}

// Fail joins the chain, and behind the end of a line it takes nothing of the next.
func TestDecoderFail(t *testing.T) {
	d := NewDecoder(strings.NewReader("a b\r\nnext\r\n"), Limits{})
	var s string
	d.Text(&s)
	d.CRLF()
	want := imap.Errorf(imap.CodeCannot, "no")
	d.Fail(want)
	d.Fail(errors.New("second"))
	if d.Err() != want || d.Text(&s) {
		t.Errorf("error is %v", d.Err())
	}
	wantNext(t, d)
}

// RFC 6855 section 3: names are then what they look like.
func TestDecoderUTF8Names(t *testing.T) {
	d := NewDecoder(strings.NewReader("\"Entwürfe\" Entw&APw-rfe \"\xff\"\r\nnext\r\n"), Limits{})
	d.UTF8 = true
	var a, b string
	if !d.ExpectMailbox(&a) || !d.ExpectSP() || !d.ExpectMailbox(&b) || !d.ExpectSP() || a != "Entwürfe" || b != "Entw&APw-rfe" {
		t.Errorf("names %q, %q, error %v", a, b, d.Err())
	}
	if d.ExpectMailbox(&a) || !imap.AsError(d.Err()).Bad {
		t.Errorf("name %q, error %v", a, d.Err())
	}
	wantNext(t, d)
}

func TestDecoderList(t *testing.T) {
	d := NewDecoder(strings.NewReader("(a (b c) ())\r\n"), Limits{})
	var got []string
	var item func() error
	item = func() error {
		if b, _ := d.PeekByte(); b == '(' {
			got = append(got, "(")
			defer func() { got = append(got, ")") }()
			return d.List(item)
		}
		var s string
		d.ExpectAtom(&s)
		got = append(got, s)
		return d.Err()
	}
	if err := d.List(item); err != nil || strings.Join(got, " ") != "a ( b c ) ( )" {
		t.Errorf("got %v, %v", got, err)
	}
	if !d.CRLF() {
		t.Error("not at the end")
	}
}

// An item that consumes nothing, and one that fails, end the list.
func TestDecoderListEnds(t *testing.T) {
	d := NewDecoder(strings.NewReader("(a b)\r\n"), Limits{})
	if err := d.List(func() error { return nil }); err == nil {
		t.Error("no error")
	}
	d = NewDecoder(strings.NewReader("(a b)\r\n"), Limits{})
	no := errors.New("no")
	if err := d.List(func() error { return no }); err != no || d.Err() != no {
		t.Errorf("error is %v, %v", err, d.Err())
	}
}
