package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster/coordetcd"
	"github.com/roost-mail/roost/porttest"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

// TestDefaultDictionary: with a coordinator and nothing said about a dictionary, who shares
// with whom is kept at the coordinator, a member of which the director is itself. The
// nodes' certificates are enough for it, it outlives a restart of the member, and nobody
// without a certificate of the cluster's authority can read it.
func TestDefaultDictionary(t *testing.T) {
	t.Parallel()
	authority, member := tlstest.New(t), rigAddrs["director"]
	client := porttest.Free(t, member)
	peer := client
	for peer == client {
		peer = porttest.Free(t, member)
	}
	at := fmt.Sprintf("%s:%d", member, client)
	r := &trustRig{log: &syncBuffer{}}
	r.rig = startRigWith(t, "rig", func(rig *rig) {
		rig.log = slog.New(slog.NewTextHandler(r.log, nil))
		volume := filepath.Join(rig.root, "shared-fs")
		runRoost(t, "store", "init", volume)
		for name, file := range rig.files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			conf := regexp.MustCompile(`(?m)^\s*acl_shared_dict = .*$`).ReplaceAllString(inCluster(string(text), name, at, volume), "")
			if name == "director" {
				conf = strings.Replace(conf, "cluster = etcd://"+at, fmt.Sprintf("cluster = embedded\ndirector_servers = %[1]s\ncluster_member = %[1]s\ncluster_client_port = %[2]d\ncluster_peer_port = %[3]d\ncluster_data_dir = %[4]s",
					member, client, peer, filepath.Join(rig.root, "coordinator")), 1)
			}
			conf += "cluster_lease_ttl = 1 min\n" + clusterCertificate(t, authority, filepath.Join(rig.root, name), name, rigAddrs[name])
			if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Cleanup(func() { // while there is a coordinator that they can tell
		r.stop(t, "be1")
		r.stop(t, "be2")
	})
	known := authority.Client("")
	known.Certificates = []tls.Certificate{authority.Valid(t, "admin").Certificate(t)}
	_, r.view = watchClusterBy(t, coordetcd.Config{Endpoints: []string{at}, TLS: known})
	r.awaitHeld(t, nil) // a slow machine may have them where they should not be
	here, there := r.usersAt("be1"), r.usersAt("be2")
	if len(here) < 2 || len(there) < 2 {
		t.Fatalf("be1 has %q, be2 %q", here, there)
	}
	owner, reader := here[0], there[0]

	r.share(t, owner, "Work", reader)
	listed := func() *imapConn {
		c := r.login(t, reader)
		c.until(`LIST "" "shared/*"`, func(answer string) bool { return strings.Contains(answer, "shared/"+owner+"/Work") })
		return c
	}
	listed()
	kept := r.roost("be2 dict iter -R etcd: shared/")
	if !strings.Contains(kept, "shared/shared-boxes/user/"+reader+"/"+owner+"\t1") {
		t.Errorf("the coordinator has\n%s", kept)
	}

	r.stop(t, "director")
	r.start(t, "director", nil)
	r.awaitServed(t, owner, reader, here[1], there[1])
	listed()
	r.share(t, there[1], "More", here[1])
	c := r.login(t, here[1])
	c.until(`LIST "" "shared/*"`, func(answer string) bool { return strings.Contains(answer, "shared/"+there[1]+"/More") })
	c.command("SELECT shared/" + there[1] + "/More")
	c.expect("OK [READ-ONLY]")

	other := tlstest.New(t)
	foreign := authority.Client("")
	foreign.Certificates = []tls.Certificate{other.Valid(t, "be1").Certificate(t)}
	for name, stranger := range map[string]*tls.Config{"no certificate": authority.Client(""), "another authority's": foreign, "no encryption": nil} {
		t.Run(name, func(t *testing.T) {
			c, err := coordetcd.New(coordetcd.Config{Endpoints: []string{at}, TLS: stranger, CallTime: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, _, err := c.Range(context.Background(), ""); err == nil {
				t.Error("answered")
			}
		})
	}
	if conn, err := tls.Dial("tcp", net.JoinHostPort(member, fmt.Sprint(peer)), authority.Client(member)); err == nil {
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("the members' own port takes who shows no certificate")
		}
	}
}

// clusterCertificate makes a node's certificate, and gives the settings that name it.
func clusterCertificate(t *testing.T, authority *tlstest.Authority, dir string, names ...string) (settings string) {
	t.Helper()
	pair := authority.Valid(t, names...)
	for _, f := range []struct{ name, text string }{{"ca", authority.PEM}, {"cert", pair.Cert}, {"key", pair.Key}} {
		path := filepath.Join(dir, "cluster-"+f.name+".pem")
		if err := os.WriteFile(path, []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
		settings += fmt.Sprintf("cluster_ssl_%s = %s\n", f.name, path)
	}
	return settings
}
