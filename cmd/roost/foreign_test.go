package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
)

// partnerWorld is a cluster with a namespace that leads to another installation.
type partnerWorld struct {
	*rig
	partner string // its address
}

// do is also `partner USER COMMAND`, said to the other installation, which has to agree,
// and `unseen USER MAILBOX N`, which is what its user has not seen.
func (w *partnerWorld) do(t *testing.T, words []string) {
	t.Helper()
	if words[0] != "partner" && words[0] != "unseen" {
		w.rig.do(t, words)
		return
	}
	c := dialIMAP(t, w.partner)
	defer c.close()
	c.where = func() string { return strings.Join(words, " ") }
	c.command("LOGIN " + words[1] + " pass")
	c.expect("OK")
	if words[0] == "unseen" {
		c.command("STATUS " + words[2] + " (UNSEEN)")
		c.expect("* STATUS " + words[2] + " (UNSEEN " + words[3] + ")")
		return
	}
	c.command(strings.Join(words[2:], " "))
	c.expect("OK")
}

// partnerConfig is a namespace for users at host and port, whose index is in dict.
func partnerConfig(host string, port int, dict string) string {
	return partnerAt("imapc:", host, port, dict)
}

func partnerAt(location, host string, port int, dict string) string {
	return fmt.Sprintf(`namespace partner {
  type = shared
  separator = /
  prefix = partner/%%%%u/
  list = children
  location = %s
  imapc_host = %s
  imapc_port = %d
  imapc_password = master-secret
  acl_shared_dict = file:%s
}
`, location, host, port, dict)
}

// TestForeignOwnFlags: with INDEXPVT readers of another installation's mail have flags of their
// own, also where that keeps none; and so have readers of users of the cluster itself whose backend is
// no Roost, if a namespace leads to these by another address of the directors. By the namespace of all,
// \Seen is everybody's there.
func TestForeignOwnFlags(t *testing.T) {
	needTool(t, "dovecot")
	if os.Getuid() != 0 {
		t.Skip("needs root to start dovecot")
	}
	dovecot := newDovecotRig(t, freePort(t))
	const another = "127.0.1.2"
	r := startRigWith(t, "rig", func(r *rig) {
		replaceIn(t, r.files["director"], "listen = "+rigAddrs["director"]+"\n", "listen = "+rigAddrs["director"]+" "+another+"\n")
		route := "someone1:{PLAIN}pass::::::proxy=y port=%d\n"
		replaceIn(t, filepath.Join(r.root, "etc/users.director"), fmt.Sprintf(route, r.port), fmt.Sprintf(route, dovecot.port))
		for _, be := range []string{"be1", "be2"} {
			appendTo(t, r.files[be], partnerAt("imapc:~/partner:INDEXPVT=~/partner-pvt", another, r.port, dovecot.sharedDict()))
		}
	})
	runTranscript(t, &partnerWorld{r, r.address()}, "testdata/foreign/own-flags.txt")
	runTranscript(t, &partnerWorld{r, r.address()}, "testdata/foreign/shared-flags.txt")
}

func replaceIn(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil && !strings.Contains(string(text), from) {
		err = fmt.Errorf("%s has no %q", path, from)
	}
	if err == nil {
		err = os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestForeignNamespace has a second shared namespace lead to another installation, with
// users of the same names: to a cluster of Roost, and to Dovecot.
func TestForeignNamespace(t *testing.T) {
	homes := map[string]func(t *testing.T, prepare func(*rig)) *rig{
		"elsewhere": func(t *testing.T, prepare func(*rig)) *rig { return startRigWith(t, "rig", prepare) },
		"here": func(t *testing.T, prepare func(*rig)) *rig {
			return startTogetherWith(t, nil, func(string) bool { return true }, prepare)
		},
	}
	start := func(t *testing.T, home, partner, host string, port int, dict string) {
		r := homes[home](t, func(r *rig) {
			for _, be := range []string{"be1", "be2"} {
				if r.files[be] != "" {
					appendTo(t, r.files[be], partnerConfig(host, port, dict))
				}
			}
		})
		runTranscript(t, &partnerWorld{r, partner}, "testdata/foreign/partner.txt")
	}
	for home := range homes {
		t.Run("roost/"+home, func(t *testing.T) {
			other := startRig(t, "rig")
			start(t, home, other.address(), rigAddrs["director"], other.port, other.sharedDict())
		})
		t.Run("dovecot/"+home, func(t *testing.T) {
			needTool(t, "dovecot")
			if os.Getuid() != 0 {
				t.Skip("needs root to start dovecot")
			}
			other := newDovecotRig(t, freePort(t))
			address := net.JoinHostPort(rigAddrs["be1"], strconv.Itoa(other.port))
			start(t, home, address, rigAddrs["be1"], other.port, other.sharedDict())
		})
	}
}

// TestAdministratorsFindTheOwner: what administrators do to mail of another installation is not
// done to that of a user here who has the owner's name; and of public mail they find the account.
func TestAdministratorsFindTheOwner(t *testing.T) {
	r := startRigWith(t, "rig", func(r *rig) {
		appendTo(t, r.files["be2"], partnerConfig(rigAddrs["director"], 1, r.root+"/partner")+
			"namespace public {\n  type = public\n  prefix = public/\n  location = imapc:\n  imapc_user = someone3\n}\n")
	})
	acls := adminACLs{r.nodes["be2"].parts}
	if b, err := acls.Find(t.Context(), "someone2", "partner/someone1/Work"); imap.CodeOf(err) != imap.CodeCannot {
		t.Errorf("another installation's: %+v, %v", b, err)
	}
	b, err := acls.Find(t.Context(), "someone2", "public/News")
	if err != nil || b.Owner != "someone3" || b.Mailbox != "News" || b.Namespace != "public/" {
		t.Errorf("public: %+v, %v", b, err)
	}
	if b, err := acls.Find(t.Context(), "someone2", "shared/someone3/News"); imap.CodeOf(err) != imap.CodeNonExistent {
		t.Errorf("the account's own name: %+v, %v", b, err)
	}
}
