package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/config"
)

func demoCommand() *cobra.Command {
	var exit bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try it: a director, two backends, and a mailbox shared across them",
		Long: `Starts a director and two backends in this process, on loopback ports that are
free, with configuration files and mail in a temporary directory. Then someone2
works in a mailbox that someone1, on the other backend, shares with him, and the
dialogue is printed. Afterwards it stays up so that a mail client can connect.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP) // the terminal was closed
			defer stop()
			return runDemo(ctx, cmd.OutOrStdout(), exit)
		},
	}
	cmd.Flags().BoolVar(&exit, "exit", false, "end after the tour; fail if a step did not answer as it should")
	return cmd
}

// The demo's files: configuration templates and mail.
//
//go:embed demoetc demomail
var demoFiles embed.FS

const demoPassword = "pass"

var demoUsers = [...]string{"someone1", "someone2", "someone3", "someone4"}

// demoCluster is three nodes in one process.
type demoCluster struct {
	dir       string
	listeners [3]net.Listener // director, be1, be2
	nodes     []*node
	backends  map[string]string // user -> backend's name
}

var demoNames = [3]string{"director", "be1", "be2"}

func runDemo(ctx context.Context, out io.Writer, exit bool) (err error) {
	d, err := startDemo(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := d.close(); err == nil {
			err = cerr
		}
	}()
	d.introduce(out)
	if err := d.placedApart(); err != nil {
		return err
	}
	if err := d.tour(ctx, out); err != nil {
		return err
	}
	if exit {
		return nil
	}
	fmt.Fprintf(out, `
It stays up. Connect a mail client: server 127.0.0.1, port %d, no encryption,
user %s … %s, password %s. End with Ctrl-C; the files are removed.
Administrators' commands take one of the files above: roost share list -c FILE --from %s
`, d.port(0), demoUsers[0], demoUsers[len(demoUsers)-1], demoPassword, demoUsers[0])
	<-ctx.Done()
	return nil
}

func startDemo(ctx context.Context) (_ *demoCluster, err error) {
	d := &demoCluster{backends: map[string]string{}}
	if d.dir, err = os.MkdirTemp("", "roost-demo-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = d.close()
		}
	}()
	if err = d.openPorts(ctx); err != nil {
		return nil, err
	}
	for i, name := range demoNames {
		if err = d.startNode(ctx, i, name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return d, nil
}

// openPorts takes free ports. Users are placed by the backends' addresses, and
// here ports are part of them: ports are taken anew until the two users of the
// tour live apart, as they would on two machines picked for that.
func (d *demoCluster) openPorts(ctx context.Context) error {
	for range 64 {
		for i := range d.listeners {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			d.listeners[i] = ln
		}
		if err := d.writeFiles(); err != nil {
			return err
		}
		if err := d.place(ctx); err != nil {
			return err
		}
		if d.placedApart() == nil {
			return nil
		}
		d.closePorts()
	}
	return fmt.Errorf("no ports found that put someone1 and someone2 on different backends")
}

func (d *demoCluster) closePorts() {
	for i, ln := range d.listeners {
		if ln != nil {
			_ = ln.Close()
			d.listeners[i] = nil
		}
	}
}

func (d *demoCluster) port(i int) int {
	return int(netip.MustParseAddrPort(d.listeners[i].Addr().String()).Port())
}

func (d *demoCluster) confFile(name string) string { return filepath.Join(d.dir, name, "roost.conf") }

// writeFiles fills in the templates.
func (d *demoCluster) writeFiles() error {
	values := map[string]any{
		"Dir": d.dir, "Users": demoUsers, "Password": demoPassword,
		"DirectorPort": d.port(0), "Ports": map[string]int{"director": d.port(0), "be1": d.port(1), "be2": d.port(2)},
	}
	write := func(path, from, name string) error {
		values["Name"] = name
		t, err := template.ParseFS(demoFiles, "demoetc/"+from)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		if err := t.Execute(f, values); err != nil {
			_ = f.Close()
			return err
		}
		return f.Close()
	}
	files := [][3]string{
		{filepath.Join(d.dir, "users"), "users", ""},
		{filepath.Join(d.dir, "users.director"), "users.director", ""},
		{d.confFile("director"), "director.conf", "director"},
		{d.confFile("be1"), "backend.conf", "be1"},
		{d.confFile("be2"), "backend.conf", "be2"},
	}
	for _, f := range files {
		if err := write(f[0], f[1], f[2]); err != nil {
			return err
		}
	}
	return nil
}

// place asks the director's own placement where each user lives.
func (d *demoCluster) place(ctx context.Context) error {
	set, _, err := config.Load(d.confFile("director"))
	if err != nil {
		return err
	}
	locator, err := newLocator(ctx, set)
	if err != nil {
		return err
	}
	for _, user := range demoUsers {
		backend, err := locator.Locate(ctx, cluster.Query{User: user})
		if err != nil {
			return err
		}
		d.backends[user] = "be1"
		if int(backend.Port) == d.port(2) {
			d.backends[user] = "be2"
		}
	}
	return nil
}

// placedApart fails if the tour would not cross backends.
func (d *demoCluster) placedApart() error {
	if d.backends["someone1"] == d.backends["someone2"] {
		return fmt.Errorf("someone1 and someone2 are both on %s: nothing to show", d.backends["someone1"])
	}
	return nil
}

func (d *demoCluster) startNode(ctx context.Context, i int, name string) error {
	set, warnings, err := config.Load(d.confFile(name))
	if err != nil {
		return err
	}
	log, _, err := openLog(set, os.Stderr)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		log.Warn(w.String())
	}
	n, err := newNode(ctx, set, log)
	if err != nil {
		return err
	}
	d.nodes = append(d.nodes, n)
	given := map[string]net.Listener{d.listeners[i].Addr().String(): d.listeners[i]}
	if err := n.listen(ctx, given); err != nil {
		return err
	}
	n.start(ctx)
	return nil
}

func (d *demoCluster) introduce(out io.Writer) {
	fmt.Fprintf(out, "Roost demo: a director and two backends in this process, everything in\n%s\n\n", d.dir)
	for i, name := range demoNames {
		fmt.Fprintf(out, "  %-8s 127.0.0.1:%-5d  %s\n", name, d.port(i), d.confFile(name))
	}
	fmt.Fprintln(out)
	for _, user := range demoUsers {
		fmt.Fprintf(out, "  %s lives on %s\n", user, d.backends[user])
	}
}

func (d *demoCluster) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	var first error
	for _, n := range d.nodes { // the director first, so that nobody new comes
		if err := n.close(ctx); err != nil && first == nil {
			first = err
		}
	}
	d.closePorts()
	if err := os.RemoveAll(d.dir); err != nil && first == nil {
		first = err
	}
	return first
}
