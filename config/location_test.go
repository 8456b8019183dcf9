package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseLocation(t *testing.T) {
	for _, c := range []struct {
		text string
		want Location
	}{
		{"roost:~/mail", Location{Driver: "roost", Path: "~/mail"}},
		{"imapc:", Location{Driver: "imapc"}},
		{"imapc:~/a:INDEX=~/b:INDEXPVT=~/c", Location{"imapc", "~/a", "~/b", "~/c"}},
		{"imapc:~/a:indexpvt=~/c", Location{Driver: "imapc", Path: "~/a", IndexPvt: "~/c"}},
		{"roost:/srv/a::b", Location{Driver: "roost", Path: "/srv/a:b"}},
		{"maildir:~/Maildir:LAYOUT=fs:INBOX=x", Location{Driver: "maildir", Path: "~/Maildir"}},
	} {
		if got, err := ParseLocation(c.text); err != nil || got != c.want {
			t.Errorf("ParseLocation(%q) = %+v, %v; want %+v", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "~/mail", ":x", "roost:~/mail:LAYOUT=fs", "imapc:x:CONTROL=y"} {
		if got, err := ParseLocation(text); err == nil {
			t.Errorf("ParseLocation(%q) = %+v, want an error", text, got)
		}
	}
}

func TestMailServers(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"},
		{"10.0.0.1 10.0.0.1", "10.0.0.1"},
		{"10.0.0.1-10.0.0.4", "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4"},
		{"10.0.0.250-10.0.0.255@old", "10.0.0.250@old 10.0.0.251@old 10.0.0.252@old 10.0.0.253@old 10.0.0.254@old 10.0.0.255@old"},
		{"255.255.255.254-255.255.255.255", "255.255.255.254 255.255.255.255"},
		{"10.0.0.1-10.0.0.1", "10.0.0.1"},
		{"127.0.0.1:1144 127.0.0.1:1145@x", "127.0.0.1:1144 127.0.0.1:1145@x"},
		{"mail-1.example.com mail-2.example.com:143", "mail-1.example.com mail-2.example.com:143"},
		{"::1 [::1] [::1]:1143@t", "::1 ::1:1143@t"},
		{"fe80::1-fe80::3", "fe80::1 fe80::2 fe80::3"},
	} {
		servers, err := parseMailServers(c.text)
		var got []string
		for _, s := range servers {
			text := s.Host
			if s.Port != 0 {
				text += fmt.Sprint(":", s.Port)
			}
			if s.Tag != "" {
				text += "@" + s.Tag
			}
			got = append(got, text)
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("parseMailServers(%q) = %v, %v; want %s", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{
		"10.0.0.1-10.0.1.1", "10.0.0.2-10.0.0.1", "10.0.0.1-::1", "fe80::1-fe80::1:0", "10.0.0.1@", "10.0.0.1:0",
		"10.0.0.1:70000", "10.0.0.1:x", "[::1", "[::1]143", "host/x", "-x", "::1::2",
	} {
		if servers, err := parseMailServers(text); err == nil {
			t.Errorf("parseMailServers(%q) = %v, want an error", text, servers)
		}
	}
}
