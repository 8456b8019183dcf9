package message

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func keysOf(lines ...string) *Keys {
	d := ScanBytes(mail(lines...))
	k := new(Keys)
	if !d.Keys(k) {
		panic("no keys")
	}
	return k
}

func TestKeys(t *testing.T) {
	k := keysOf(
		"From: =?utf-8?q?J=C3=BCrgen?= <J.M@Example.org>, x@y",
		"To: friends: bob@example.net, carol@example.net;",
		"Cc: dave@example.net (Dave)",
		"Subject: Re: [list] =?iso-8859-1?q?Gr=FC=DFe?=",
		"Date: Mon, 2 Feb 2026 10:00:00 +0100",
		`Message-ID: <"a.b"@Example.org>`,
		"In-Reply-To: <zzz@example.org>",
		"References: junk <1@x> <2", " @x> <broken", " <3@x>", "", "text")
	for _, c := range []struct{ what, got, want string }{
		{"subject", string(k.Subject), "GRU\u0308ßE"},
		{"from", string(k.From), "J.M"},
		{"to", string(k.To), "FRIENDS"},
		{"cc", string(k.Cc), "DAVE"},
		{"from's name", string(k.FromName), "JU\u0308RGEN"},
		{"to's name", string(k.ToName), "FRIENDS"},
		{"id", fmt.Sprint(k.ID), fmt.Sprint(hashMessageID([]byte("a.b@Example.org")))},
		{"references", fmt.Sprint(k.References), fmt.Sprint(ids("1@x", "2@x", "3@x"))},
		{"sent", k.Sent.Time().UTC().String(), "2026-02-02 09:00:00 +0000 UTC"},
		{"reply", fmt.Sprint(k.Reply), "true"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, c.got, c.want)
		}
	}
	bare := keysOf("From: ann@Example.org", "To: <>", "In-Reply-To: your mail of <today> <4@x> <5@x>", "")
	if string(bare.FromName) != "ANN@EXAMPLE.ORG" || bare.ID != 0 || !reflect.DeepEqual(bare.References, ids("4@x")) {
		t.Errorf("got %+v", bare)
	}
	none := keysOf("", "no header")
	if none.Sent.Valid || len(none.From) != 0 || len(none.FromName) != 0 || len(none.References) != 0 {
		t.Errorf("got %+v", none)
	}
}

func ids(texts ...string) (out []messageID) {
	for _, s := range texts {
		out = append(out, hashMessageID([]byte(s)))
	}
	return out
}

func TestManyReferences(t *testing.T) {
	var refs strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&refs, " <%d.of.a.very.long.thread@example.org>\r\n", i)
	}
	k := keysOf("References:"+refs.String()+" <last@x>", "")
	if n := len(k.References); n > MaxReferences || n < 5000 {
		t.Errorf("%d references are kept", n)
	}
	if k.References[len(k.References)-1] != ids("last@x")[0] {
		t.Error("the last reference is lost")
	}
}

func TestMessageIDs(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"<a@b>", "a@b"},
		{"<a@b><c@d>", "a@b c@d"},
		{`<"a"@b>`, "a@b"},
		{`<"a\"x"@b>`, `a"x@b`},
		{`<"a>"@b>`, "a>@b"},
		{"< a @ b >", "a@b"},
		{"<a@[1.2.3.4]>", "a@[1.2.3.4]"},
		{"<A@B>", "A@B"},
		{"a@b", ""},
		{"<a>", ""},
		{"<@b>", ""},
		{"<a@>", ""},
		{"<a@b", ""},
		{"<<a@b>>", "a@b"},
		{"<x <a@b>", "a@b"},
		{`<"a@b> <c@d>`, "c@d"},
		{"<" + strings.Repeat("x", maxMessageID) + "@b> <c@d>", "c@d"},
	} {
		var got []string
		rest := []byte(c.in)
		for {
			var id []byte
			if id, rest = nextMessageID(nil, rest); id == nil {
				break
			}
			got = append(got, string(id))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: got %q", c.in, got)
		}
	}
}

func FuzzKeys(f *testing.F) {
	for _, msg := range fixtures(f) {
		f.Add(ScanBytes(msg).Envelope, []byte("<a@b> <\"c\"@d>"))
	}
	f.Add([]byte(`("" {3}`+"\r\n"+`abc ((NIL NIL "a" "b")) NIL NIL NIL NIL NIL NIL NIL "<x@y>")`), []byte("<"))
	f.Fuzz(func(t *testing.T, envelope, references []byte) {
		k := NewKeys(envelope, references)
		b := k.append(nil)
		var back Keys
		if err := back.decode(b); err != nil {
			t.Fatal(err)
		}
		if string(back.append(nil)) != string(b) {
			t.Fatal("keys change when they are encoded and decoded")
		}
	})
}
