package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
	"github.com/roost-mail/roost/sasl"
	"github.com/roost-mail/roost/trust"
)

// trustRig is the usual director and two backends, with a coordinator: there is no
// master password anywhere.
type trustRig struct {
	*rig
	log         *syncBuffer
	coordinator cluster.Coordinator
	view        *cluster.View
}

func startTrustRig(t testing.TB, prepare func(name, text string) string) *trustRig {
	t.Helper()
	etcd := etcdtest.Start(t, "127.0.0.1")
	r := &trustRig{log: &syncBuffer{}}
	r.coordinator, r.view = watchCluster(t, etcd.Addr)
	r.rig = startRigWith(t, "rig", func(rig *rig) {
		rig.log = slog.New(slog.NewTextHandler(r.log, nil))
		volume := filepath.Join(rig.root, "shared-fs")
		runRoost(t, "store", "init", volume)
		for name, file := range rig.files {
			text, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(file, []byte(prepare(name, inCluster(string(text), name, etcd.Addr, volume))), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	r.awaitPlaces(t)
	return r
}

// inCluster is a node's file with a coordinator, and without master passwords.
func inCluster(text, name, etcd, volume string) string {
	for _, drop := range []string{
		`(?m)^(director_mail_servers|director_servers|imapc_master_user|imapc_password) = .*$`,
		`(?s)passdb \{\s+driver = static\s+master = yes.*?\n\}`,
	} {
		text = regexp.MustCompile(drop).ReplaceAllString(text, "")
	}
	text += "cluster = etcd://" + etcd + "\ncluster_name = " + name + "\n"
	if name == "director" {
		return text + "cluster_role = director\n"
	}
	return text + "cluster_role = backend\ncluster_address = " + rigAddrs[name] + "\nmail_volume = " + volume + "\nmail_ballast = 0\nmail_min_free = 1M\n"
}

// awaitPlaces waits until all slots are held by the backend that should hold them.
func (r *trustRig) awaitPlaces(t testing.TB) {
	t.Helper()
	r.awaitHeld(t, func(m *cluster.Map, u cluster.Unit) string { return m.Wanted(u) })
}

// awaitHeld waits until all slots are held, by the backend by if that says one.
func (r *trustRig) awaitHeld(t testing.TB, by func(*cluster.Map, cluster.Unit) string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // a backend that stood in keeps slots for half of one
	defer cancel()
	err := r.view.Await(ctx, func(m *cluster.Map) bool {
		for slot := range cluster.Slot(cluster.Slots) {
			unit := cluster.Unit{Slot: slot}
			if held, _ := m.Held(unit); !m.Holds(held) || by != nil && held.Backend != by(m, unit) {
				return false
			}
		}
		return len(m.Nodes()) == 2
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, r.log)
	}
}

// awaitServed waits until users can log in, after an outage that they may still be told of.
func (r *trustRig) awaitServed(t *testing.T, users ...string) {
	t.Helper()
	for _, user := range users {
		c := dialIMAP(t, r.address())
		c.until("LOGIN "+user+" pass", func(answer string) bool { return strings.Contains(answer, "OK ") })
		c.close()
	}
}

// usersAt are those of the rig's users whom a backend holds.
func (r *trustRig) usersAt(name string) (users []string) {
	r.view.Read(func(m *cluster.Map) {
		for i := range 8 {
			user := fmt.Sprintf("someone%d", i+1)
			if held, _ := m.Held(cluster.Unit{Slot: r.slot(user)}); held.Backend == name {
				users = append(users, user)
			}
		}
	})
	return users
}

func (r *trustRig) slot(user string) cluster.Slot {
	return cluster.SlotOf(r.nodes["director"].clustered.template, user)
}

// share has an owner make a mailbox and give a reader rights.
func (r *trustRig) share(t *testing.T, owner, mailbox, reader string) {
	t.Helper()
	c := r.login(t, owner)
	for _, command := range []string{"CREATE " + mailbox, "SETACL " + mailbox + " " + reader + " lr", `APPEND ` + mailbox + ` <<"Subject: one\r\n\r\n1\r\n"`, "LOGOUT"} {
		c.command(command)
		c.expect("OK")
	}
}

// TestDelegation: with a coordinator, shared mail is opened across backends without any
// password that opens all.
func TestDelegation(t *testing.T) {
	r := startTrustRig(t, func(_, text string) string { return text })
	here, there := r.usersAt("be1"), r.usersAt("be2")
	if len(here) < 2 || len(there) < 2 {
		t.Fatalf("users are placed %q and %q", here, there)
	}
	r.share(t, there[0], "Work", here[0])
	r.share(t, here[1], "Play", here[0])
	reader := r.login(t, here[0])
	for _, name := range []string{there[0] + "/Work", here[1] + "/Play"} {
		reader.command("SELECT shared/" + name)
		reader.expect("* 1 EXISTS")
		reader.expect("OK [READ-ONLY]")
	}
	for _, name := range []string{there[0] + "/INBOX", there[1] + "/INBOX", "nobody/INBOX"} {
		reader.command("SELECT shared/" + name)
		reader.expect("NO [NONEXISTENT]")
	}
	log := r.log.String()
	for _, want := range []string{`msg="another node's word is taken"`, "asker=be1", `msg="back session in this process"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s\n%s", want, log)
		}
	}
	t.Run("compromised", func(t *testing.T) { r.compromise(t, there[0], there[1], here[0]) })
}

// enemy is a backend of the cluster with a key of its own, which says what it likes.
type enemy struct {
	*trustRig
	t    *testing.T
	key  ed25519.PrivateKey
	good sasl.Delegation // what it may say, but for nonce and signature
}

// compromise has a third backend, which holds one user, try to get at mail: through the
// director, and at the owner's backend itself.
func (r *trustRig) compromise(t *testing.T, owner, stranger, other string) {
	const held = "someone8"
	if owner == held || other == held {
		t.Fatal("the enemy's user is somebody else's")
	}
	r.share(t, owner, "Open", held)
	e := r.newEnemy(t, owner, held)
	defer e.losesUser()
	for _, addr := range []string{r.address(), net.JoinHostPort(rigAddrs["be2"], strconv.Itoa(r.port))} {
		for what, change := range map[string]func(*sasl.Delegation){
			"a user of another backend": func(d *sasl.Delegation) { d.Acting = other },
			"the owner":                 func(d *sasl.Delegation) { d.Acting = owner },
			"expired":                   func(d *sasl.Delegation) { d.Issued, d.Expires = d.Issued.Add(-time.Hour), d.Expires.Add(-time.Hour) },
			"of the future":             func(d *sasl.Delegation) { d.Issued, d.Expires = d.Issued.Add(time.Hour), d.Expires.Add(time.Hour) },
			"good for long":             func(d *sasl.Delegation) { d.Expires = d.Expires.Add(time.Hour) },
			"another node's name":       func(d *sasl.Delegation) { d.Asker, d.Acting = "be1", other },
			"another key's id":          func(d *sasl.Delegation) { d.Key = e.keyOf("be1") },
		} {
			c, answer := e.present(addr, e.sign(change).Encode())
			c.close()
			if !strings.Contains(answer, "NO [AUTHENTICATIONFAILED]") {
				t.Errorf("%s: %s: %s", addr, what, answer)
			}
		}
		c, answer := e.present(addr, e.sign(func(d *sasl.Delegation) { d.Audience = "be1/" }).Encode())
		c.close()
		if !strings.Contains(answer, "NO [X-ROOST-AUDIENCE be2/") {
			t.Errorf("another audience: %s", answer)
		}
		word := e.sign(func(*sasl.Delegation) {}).Encode()
		altered := slices.Clone(word)
		altered[len(altered)-1] ^= 1
		for _, row := range []struct {
			what, answer string
			word         []byte
		}{
			{"altered", "NO [AUTHENTICATIONFAILED]", altered},
			{"good", "OK ", word},
			{"used", "NO [AUTHENTICATIONFAILED]", word},
		} {
			c, answer := e.present(addr, row.word)
			if !strings.Contains(answer, row.answer) {
				t.Errorf("%s: %s: %s", addr, row.what, answer)
			}
			if row.what == "good" {
				e.opensOnly(c, "Open")
			}
			c.close()
		}
		c, answer = e.present(addr, e.sign(func(d *sasl.Delegation) { d.Owner = stranger }).Encode())
		if !strings.Contains(answer, "OK ") {
			t.Errorf("an owner who shares nothing: %s", answer)
		} else {
			e.opensOnly(c, "")
		}
		c.close()
	}
}

// newEnemy registers a backend which nobody gives users, and which takes one.
func (r *trustRig) newEnemy(t *testing.T, owner, user string) *enemy {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	lease, _, err := r.coordinator.Grant(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	e := &enemy{trustRig: r, t: t, key: private}
	key := cluster.NodeKey{Public: base64.StdEncoding.EncodeToString(public), Until: time.Now().Add(time.Hour).Unix()}
	at := e.put("backends/be9", cluster.Registration{Host: "127.0.1.19"}, 0)
	at = max(at, e.put("alive/be9", cluster.Alive{Incarnation: "9", Keys: cluster.NodeKeys{key}}, lease))
	at = max(at, e.put(fmt.Sprintf("held//%05d", r.slot(user)), cluster.Held{Backend: "be9", Incarnation: "9", Lease: lease}, 0))
	e.good = sasl.Delegation{
		Owner: owner, Acting: user, Asker: "be9", Revision: int64(at), Key: keyID(public),
		Audience: trust.Audience("be2", r.nodes["be2"].clustered.incarnation),
	}
	return e
}

// losesUser has the user taken from the enemy: what it has open ends, at both ends.
func (e *enemy) losesUser() {
	e.t.Helper()
	var open []*imapConn
	for _, addr := range []string{e.address(), net.JoinHostPort(rigAddrs["be2"], strconv.Itoa(e.port))} {
		c, answer := e.present(addr, e.sign(func(*sasl.Delegation) {}).Encode())
		defer c.close()
		if !strings.Contains(answer, "OK ") {
			e.t.Errorf("before: %s", answer)
		}
		open = append(open, c)
	}
	key := fmt.Sprintf("held//%05d", e.slot(e.good.Acting))
	if _, _, err := e.coordinator.Commit(e.t.Context(), cluster.Txn{Then: []cluster.Op{{Key: key, Delete: true}}}); err != nil {
		e.t.Fatal(err)
	}
	for _, c := range open {
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
		if line, err := c.r.ReadString('\n'); err == nil && !strings.HasPrefix(line, "* BYE") {
			e.t.Errorf("what was open goes on: %s", line)
		} else if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			e.t.Error("what was open stays open")
		}
	}
	c, answer := e.present(e.address(), e.sign(func(*sasl.Delegation) {}).Encode())
	c.close()
	if !strings.Contains(answer, "NO [AUTHENTICATIONFAILED]") {
		e.t.Errorf("afterwards: %s", answer)
	}
}

func keyID(public ed25519.PublicKey) (id [sasl.DelegationKeyID]byte) {
	sum := sha256.Sum256(public)
	copy(id[:], sum[:])
	return id
}

func (e *enemy) keyOf(name string) (id [sasl.DelegationKeyID]byte) {
	e.view.Read(func(m *cluster.Map) {
		n, _ := m.Node(name)
		public, _ := base64.StdEncoding.DecodeString(n.Alive.Keys[0].Public)
		id = keyID(public)
	})
	return id
}

func (e *enemy) put(key string, record any, lease cluster.LeaseID) cluster.Revision {
	e.t.Helper()
	value, err := json.Marshal(record)
	if err != nil {
		e.t.Fatal(err)
	}
	at, _, err := e.coordinator.Commit(e.t.Context(), cluster.Txn{Then: []cluster.Op{{Key: key, Value: value, Lease: lease}}})
	if err != nil {
		e.t.Fatal(err)
	}
	return at
}

func (e *enemy) sign(change func(*sasl.Delegation)) *sasl.Delegation {
	d := e.good
	d.Issued, d.Expires = time.Now().Truncate(time.Millisecond), time.Now().Add(trust.Life).Truncate(time.Millisecond)
	_, _ = rand.Read(d.Nonce[:])
	change(&d)
	d.Sign(e.key)
	return &d
}

// present sends a word, and gives the connection and the tagged answer.
func (e *enemy) present(addr string, word []byte) (c *imapConn, answer string) {
	e.t.Helper()
	c = dialIMAP(e.t, addr)
	c.command("AUTHENTICATE " + sasl.DelegationName + " " + base64.StdEncoding.EncodeToString(word))
	return c, c.answer[len(c.answer)-1]
}

// opensOnly checks that nothing of the owner is to be seen but one mailbox, or none.
func (e *enemy) opensOnly(c *imapConn, mailbox string) {
	e.t.Helper()
	c.command(`LIST "" "*"`)
	var listed []string
	for _, line := range c.answer {
		if strings.HasPrefix(line, "* LIST") {
			listed = append(listed, line)
		}
	}
	if want := min(1, len(mailbox)); len(listed) != want || want == 1 && !strings.HasSuffix(listed[0], " "+mailbox) {
		e.t.Errorf("LIST shows %q, and %q is shared", listed, mailbox)
	}
	for _, name := range []string{"INBOX", "Work", "shared/someone1/INBOX"} {
		c.command("SELECT " + name)
		c.expect("NO [NONEXISTENT]")
	}
	if mailbox == "" {
		return
	}
	c.command("SELECT " + mailbox)
	c.expect("OK [READ-ONLY]")
	c.command("STORE 1 +FLAGS (\\Deleted)")
	c.expect("NO [NOPERM]")
}
