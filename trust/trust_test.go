package trust

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordmem"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/sasl"
)

// bubbleClock is the Clock of a synctest bubble.
type bubbleClock struct{}

func (bubbleClock) Now() time.Duration                     { return time.Duration(time.Now().UnixNano()) }
func (bubbleClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// world is a cluster's records, and the views that its backends have of them.
type world struct {
	t        *testing.T
	admin    *coordmem.Client
	template cluster.Template
	nodes    map[string]*backend
	forged   byte
}

// backend is one with keys, which can sign and verify.
type backend struct {
	*Signer
	*Verifier
	client *coordmem.Client
	lease  cluster.LeaseID
}

// inWorld calls f in a bubble where each backend of a tag holds users.
func inWorld(t *testing.T, holders map[string][]string, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		template, err := cluster.ParseTemplate("%u")
		if err != nil {
			t.Fatal(err)
		}
		memory := coordmem.New(bubbleClock{})
		defer memory.Close()
		ctx, stop := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer stop()
		w := &world{t: t, admin: memory.Client(), template: template, nodes: map[string]*backend{}}
		for name := range holders {
			w.join(ctx, memory, name)
		}
		for name, users := range holders {
			for _, user := range users {
				w.hold(name, user)
			}
		}
		synctest.Wait()
		f(w)
	})
}

func (w *world) join(ctx context.Context, memory *coordmem.Memory, name string) {
	w.t.Helper()
	b := &backend{client: memory.Client()}
	view := cluster.NewView(cluster.ViewConfig{Coordinator: b.client, Clock: bubbleClock{}, Log: slog.New(slog.DiscardHandler)})
	go view.Run(ctx)
	b.Signer = &Signer{Keys: &Keys{}, View: view, Template: w.template, Name: name}
	b.Verifier = &Verifier{View: view, Template: w.template, Clock: bubbleClock{}, Self: Audience(name, name+"-1")}
	var err error
	if b.lease, _, err = w.admin.Grant(w.t.Context(), 1000*time.Hour); err != nil {
		w.t.Fatal(err)
	}
	w.nodes[name] = b
	w.put("backends/"+name, cluster.Registration{Host: "192.0.2.1"}, 0)
	w.publish(name)
}

// publish has the record of a backend tell of its keys.
func (w *world) publish(name string) {
	w.t.Helper()
	b := w.nodes[name]
	w.put("alive/"+name, cluster.Alive{Incarnation: name + "-1", Candidate: true, Keys: b.Keys.Published()}, b.lease)
}

// hold gives a user's slot to a backend.
func (w *world) hold(name, user string) {
	w.t.Helper()
	held := cluster.Held{Backend: name, Incarnation: name + "-1", Lease: w.nodes[name].lease}
	w.put(fmt.Sprintf("held//%05d", cluster.SlotOf(w.template, user)), held, 0)
}

func (w *world) put(key string, record any, lease cluster.LeaseID) {
	w.t.Helper()
	value, err := json.Marshal(record)
	if err == nil {
		_, _, err = w.admin.Commit(w.t.Context(), cluster.Txn{Then: []cluster.Op{{Key: key, Value: value, Lease: lease}}})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// ask has a backend sign, and the one that has the owner decide.
func (w *world) ask(at, asker, owner, acting string) error {
	w.t.Helper()
	d, err := w.nodes[asker].Sign(owner, acting, "")
	if err != nil {
		return err
	}
	return w.present(at, d)
}

// present has a backend decide on what came to it on the wire.
func (w *world) present(at string, d *sasl.Delegation) error {
	w.t.Helper()
	d, err := sasl.ParseDelegation(d.Encode())
	if err != nil {
		return err
	}
	v := w.nodes[at].Verifier
	if _, err := v.Check(w.t.Context(), d); err != nil {
		return err
	}
	return v.Accept(d)
}

// forge signs whatever a backend could say that does not do as it should.
func (w *world) forge(asker string, change func(*sasl.Delegation)) *sasl.Delegation {
	w.t.Helper()
	now := time.Now()
	d := &sasl.Delegation{
		Owner: "alice", Acting: "bob", Asker: asker, Audience: Audience("be2", "be2-1"),
		Issued: now, Expires: now.Add(Life),
	}
	w.forged++
	d.Nonce[0] = w.forged
	change(d)
	keys := w.nodes[asker].Keys
	if err := keys.sign(d, keys.Published()); err != nil {
		w.t.Fatal(err)
	}
	return d
}

var threeBackends = map[string][]string{"be1": {"bob"}, "be2": {"alice"}, "be3": {"carol"}}

func mustRefuse(t *testing.T, what string, err error, code imap.Code, cause string) {
	t.Helper()
	if err == nil || imap.CodeOf(err) != code || !strings.Contains(err.Error(), cause) {
		t.Errorf("%s: %v; want %s because %q", what, err, code, cause)
	}
}

// TestCompromisedBackend has a backend with a key of its own say what it likes: it opens
// nothing but what it may.
func TestCompromisedBackend(t *testing.T) {
	inWorld(t, threeBackends, func(w *world) {
		if err := w.present("be2", w.forge("be1", func(*sasl.Delegation) {})); err != nil {
			t.Fatalf("what is good is refused: %v", err)
		}
		for what, row := range map[string]struct {
			change func(*sasl.Delegation)
			cause  string
		}{
			"a user of another backend":  {func(d *sasl.Delegation) { d.Acting = "carol" }, `held by "be3"`},
			"a user whom nobody holds":   {func(d *sasl.Delegation) { d.Acting = "erin" }, `held by ""`},
			"the owner":                  {func(d *sasl.Delegation) { d.Acting = "alice" }, "owner and acting user are the same"},
			"oneself":                    {func(d *sasl.Delegation) { d.Owner = "bob" }, "owner and acting user are the same"},
			"in the name of another one": {func(d *sasl.Delegation) { d.Asker, d.Acting = "be3", "carol" }, "no such key"},
			"in the name of nobody":      {func(d *sasl.Delegation) { d.Asker = "be4" }, "no living backend"},
			"of the future":              {func(d *sasl.Delegation) { later(d, Skew+time.Second) }, "the clock of be1 is 11s ahead"},
			"expired":                    {func(d *sasl.Delegation) { later(d, -Life-Skew-time.Second) }, "it was signed 41s ago"},
			"good for ever":              {func(d *sasl.Delegation) { d.Expires = d.Expires.AddDate(10, 0, 0) }, "at most 30s is"},
			"a map of the future":        {func(d *sasl.Delegation) { d.Acting, d.Revision = "carol", 1<<52 }, `held by "be3"`},
		} {
			mustRefuse(t, what, w.present("be2", w.forge("be1", row.change)), imap.CodeAuthenticationFailed, row.cause)
		}
		for _, audience := range []string{"", "be2", "be2/be2-0", "be3/be3-1"} {
			d := w.forge("be1", func(d *sasl.Delegation) { d.Audience = audience })
			mustRefuse(t, "audience "+audience, w.present("be2", d), "X-ROOST-AUDIENCE be2/be2-1", "meant for another node")
		}
	})
}

func later(d *sasl.Delegation, by time.Duration) {
	d.Issued, d.Expires = d.Issued.Add(by), d.Expires.Add(by)
}

// TestAltered: of another's good Delegation nothing can be changed, and one key does not
// do for another.
func TestAltered(t *testing.T) {
	inWorld(t, threeBackends, func(w *world) {
		d := w.forge("be3", func(d *sasl.Delegation) { d.Acting = "carol" })
		for what, change := range map[string]func(*sasl.Delegation){
			"owner":     func(d *sasl.Delegation) { d.Owner = "alina" },
			"audience":  func(d *sasl.Delegation) { d.Audience = "be2/be2-2" },
			"nonce":     func(d *sasl.Delegation) { d.Nonce[3]++ },
			"time":      func(d *sasl.Delegation) { later(d, time.Second) },
			"revision":  func(d *sasl.Delegation) { d.Revision++ },
			"signature": func(d *sasl.Delegation) { d.Signature[0]++ },
		} {
			altered := *d
			change(&altered)
			mustRefuse(t, what, w.present("be2", &altered), imap.CodeAuthenticationFailed, "signature is wrong")
		}
		own := w.forge("be1", func(d *sasl.Delegation) {})
		own.Key = d.Key
		mustRefuse(t, "another's key", w.present("be2", own), imap.CodeAuthenticationFailed, "no such key")
		if err := w.present("be2", d); err != nil {
			t.Errorf("the good one: %v", err)
		}
	})
}

// TestReplay: what was accepted is not accepted again, however long it could be, by the
// process that it is meant for; and for no other.
func TestReplay(t *testing.T) {
	inWorld(t, threeBackends, func(w *world) {
		for _, ahead := range []time.Duration{-Skew, 0, Skew} {
			d := w.forge("be1", func(d *sasl.Delegation) { later(d, ahead) })
			if err := w.present("be2", d); err != nil {
				t.Fatalf("clock %v ahead: %v", ahead, err)
			}
			for range int(longest/time.Second) + 2 {
				err := w.present("be2", d)
				if imap.CodeOf(err) != imap.CodeAuthenticationFailed {
					t.Fatalf("again: %v", err)
				}
				time.Sleep(time.Second)
			}
			time.Sleep(time.Hour)
			if err := w.ask("be2", "be1", "alice", "bob"); err != nil {
				t.Fatal(err)
			}
			if s := w.nodes["be2"].seen["be1"]; len(s.now)+len(s.old) != 1 {
				t.Errorf("%d and %d nonces are remembered after an hour", len(s.now), len(s.old))
			}
		}
	})
}

// TestTooMany: a node that asks for more than can be remembered is refused, and others are not.
func TestTooMany(t *testing.T) {
	inWorld(t, threeBackends, func(w *world) {
		v := w.nodes["be2"].Verifier
		for i := range maxNonces {
			if err := v.use("be1", [16]byte{byte(i), byte(i >> 8), byte(i >> 16)}); err != nil {
				t.Fatal(i, err)
			}
		}
		mustRefuse(t, "one more", w.ask("be2", "be1", "alice", "bob"), imap.CodeAuthenticationFailed, "too many")
		if err := w.ask("be2", "be3", "alice", "carol"); err != nil {
			t.Errorf("another asker: %v", err)
		}
		time.Sleep(longest)
		if err := w.ask("be2", "be1", "alice", "bob"); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

// TestMoves: a user who has just come may be asked for at once, also where the map is not
// as new; one who has left, no more.
func TestMoves(t *testing.T) {
	inWorld(t, threeBackends, func(w *world) {
		w.nodes["be2"].client.Hang(true)
		w.hold("be3", "bob")
		synctest.Wait()
		before := time.Now()
		time.AfterFunc(time.Second, func() { w.nodes["be2"].client.Hang(false) })
		if err := w.ask("be2", "be3", "alice", "bob"); err != nil || time.Since(before) < time.Second {
			t.Errorf("who has just come, after %v: %v", time.Since(before), err)
		}
		if err := w.ask("be2", "be1", "alice", "bob"); !errors.Is(err, errNotOurs) {
			t.Errorf("who has left is asked for: %v", err)
		}
		mustRefuse(t, "who has left", w.present("be2", w.forge("be1", func(*sasl.Delegation) {})), imap.CodeAuthenticationFailed, `held by "be3"`)
		w.hold("be3", "alice")
		synctest.Wait()
		if d, err := w.nodes["be3"].Sign("alice", "carol", ""); err != nil || d.Audience != "be3/be3-1" {
			t.Errorf("audience %+v, %v", d, err)
		}
	})
}

// TestNodeLeaves: with its lease a node's keys are gone, and so is what it held.
func TestNodeLeaves(t *testing.T) {
	inWorld(t, threeBackends, func(w *world) {
		d := w.forge("be1", func(*sasl.Delegation) {})
		if err := w.admin.Revoke(t.Context(), w.nodes["be1"].lease); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		mustRefuse(t, "a node that has left", w.present("be2", d), imap.CodeAuthenticationFailed, "no living backend")
	})
}

// TestRotation: there is always a key that others know, and what an old one has signed is
// good until its end.
func TestRotation(t *testing.T) {
	inWorld(t, threeBackends, func(w *world) {
		first := w.nodes["be1"].Keys.Published()
		seen := map[[8]byte]bool{}
		for end := time.Now().Add(3 * keyLife); time.Now().Before(end); time.Sleep(10 * time.Minute) {
			if w.nodes["be1"].Keys.Published()[1] != (cluster.NodeKey{}) { // known here, and not yet there
				if err := w.ask("be2", "be1", "alice", "bob"); err != nil {
					t.Fatalf("a key that is not told of: %v", err)
				}
			}
			old := w.forge("be1", func(*sasl.Delegation) {})
			w.publish("be1")
			synctest.Wait()
			d, err := w.nodes["be1"].Sign("alice", "bob", "")
			if err != nil {
				t.Fatal(err)
			}
			seen[d.Key] = true
			if err := w.present("be2", d); err != nil {
				t.Fatal(err)
			}
			if err := w.present("be2", old); err != nil {
				t.Fatalf("signed before it was told: %v", err)
			}
		}
		if len(seen) != 4 {
			t.Errorf("%d keys in three days", len(seen))
		}
		if now := w.nodes["be1"].Keys.Published(); now == first || now[0] == first[0] {
			t.Error("the first key is there still")
		}
	})
}

// TestOldKey: a key counts up to its end, though its node's record is not told anew.
func TestOldKey(t *testing.T) {
	inWorld(t, threeBackends, func(w *world) {
		old := w.nodes["be1"].Keys.keys[0]
		time.Sleep(keyLife + Skew + time.Second)
		now := time.Now()
		d := &sasl.Delegation{Owner: "alice", Acting: "bob", Asker: "be1", Audience: "be2/be2-1", Issued: now, Expires: now.Add(Life)}
		d.Key = keyID(old.private.Public().(ed25519.PublicKey))
		d.Sign(old.private)
		mustRefuse(t, "an old key", w.present("be2", d), imap.CodeAuthenticationFailed, "no such key")
	})
}

// TestTags: a user of another tag has a slot of the same number.
func TestTags(t *testing.T) {
	d := &sasl.Delegation{Owner: "alice", Acting: "bob", Asker: "be1"}
	asker := cluster.Node{Name: "be1", Registration: cluster.Registration{Tag: "east"}}
	for tag, ok := range map[string]bool{"": true, "east": true, "west": false} {
		if err := CheckTag(d, asker, tag); (err == nil) != ok {
			t.Errorf("tag %q: %v", tag, err)
		}
	}
}

// TestAudience: it is one word of an answer, whatever a node is called.
func TestAudience(t *testing.T) {
	for _, name := range []string{"be1", "my node", "a]b", "ü", `a"b\`} {
		if got := Audience(name, "ABC"); strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`]"\`, r) }) {
			t.Errorf("%q becomes %q", name, got)
		}
	}
}
