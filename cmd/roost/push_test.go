package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
)

// pusher is an owner who does something, and a reader at the other backend who waits to
// hear of it.
type pusher struct {
	b             *testing.B
	rig           *rig
	owner, reader *lineClient
}

func newPusher(b *testing.B) *pusher {
	etcd := etcdtest.Start(b, "127.0.0.1")
	p := &pusher{b: b, rig: startRigWith(b, "rig", func(r *rig) {
		for _, name := range []string{"be1", "be2"} {
			appendTo(b, r.files[name], "plugin {\n acl_shared_dict = etcd://"+etcd.Addr+"\n}\n")
		}
	})}
	p.owner = p.login("someone1")
	b.Cleanup(func() {
		p.owner.close()
		p.reader.close()
	})
	for _, command := range []string{"CREATE Work", "SETACL Work someone2 lrstwei", "CREATE Other"} {
		p.ok(p.owner, command)
	}
	p.append()
	p.ok(p.owner, "SELECT Work")
	return p
}

func (p *pusher) login(user string) *lineClient {
	c, err := dialLines(p.b.Context(), "", p.rig.address())
	if err != nil {
		p.b.Fatal(err)
	}
	p.ok(c, "LOGIN "+user+" "+p.rig.password(user))
	return c
}

func (p *pusher) ok(c *lineClient, command string) {
	if _, err := c.ok("%s", command); err != nil {
		p.b.Fatal(err)
	}
}

// enter has a new reader come in the place of the last.
func (p *pusher) enter() {
	if p.reader != nil {
		p.reader.close()
	}
	p.reader = p.login("someone2")
}

func (p *pusher) append() { p.ok(p.owner, "APPEND Work {10+}\r\na: b\r\n\r\nc\r\n") }

// waits has a new reader select the mailbox and wait.
func (p *pusher) waits() {
	p.enter()
	p.ok(p.reader, "SELECT shared/someone1/Work")
	p.send("i IDLE")
	p.hears("+ ")
}

func (p *pusher) send(command string) {
	if _, err := fmt.Fprintf(p.reader.conn, "%s\r\n", command); err != nil {
		p.b.Fatal(err)
	}
}

// hears waits for a line that contains something.
func (p *pusher) hears(what string) {
	_ = p.reader.conn.SetDeadline(time.Now().Add(patience))
	for {
		line, err := p.reader.line()
		if err != nil {
			p.b.Fatalf("waiting for %q: %v", what, err)
		}
		if strings.Contains(line, what) {
			return
		}
	}
}

// BenchmarkPush is how long it takes from what an owner sends until a reader at the other
// backend has heard of it: half of the times p50-ms at most, and 99 of 100 p99-ms.
func BenchmarkPush(b *testing.B) {
	p := newPusher(b)
	for _, row := range []struct {
		name    string
		begin   func()
		prepare func(i int)
		command func(i int) string
		hears   string
	}{
		{"append", p.waits, nil, func(int) string { return "APPEND Work {10+}\r\na: b\r\n\r\nc\r\n" }, " EXISTS"},
		{"store", p.waits, nil, func(i int) string { return "STORE 1 " + "+-"[i%2:i%2+1] + `FLAGS (\Flagged)` }, " FETCH ("},
		{"expunge", p.waits, func(int) {
			p.append()
			p.ok(p.owner, `STORE 1 +FLAGS (\Deleted)`)
			p.hears(" FETCH (")
		}, func(int) string { return "EXPUNGE" }, " EXPUNGE"},
		{"revoke", func() {}, func(int) {
			p.ok(p.owner, "SETACL Work someone2 lrstwei")
			p.waits()
		}, func(int) string { return "DELETEACL Work someone2" }, "* NO [NOPERM]"},
		{"grant", func() {
			p.enter()
			p.ok(p.reader, "NOTIFY SET (subtree shared (MailboxName))")
		}, func(i int) {
			if i > 0 {
				p.ok(p.owner, "DELETEACL Other someone2")
				p.hears(`\NonExistent`)
			}
		}, func(int) string { return "SETACL Other someone2 lr" }, "shared/someone1/Other"},
	} {
		b.Run(row.name, func(b *testing.B) {
			row.begin()
			var all []time.Duration
			for i := 0; b.Loop(); i++ {
				if row.prepare != nil {
					row.prepare(i)
				}
				done := make(chan error, 1)
				begun := time.Now()
				go func() {
					_, err := p.owner.ok("%s", row.command(i))
					done <- err
				}()
				p.hears(row.hears)
				all = append(all, time.Since(begun))
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
