package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/admin/adminhttp"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/tlsconn"
)

// adminGroups are the commands that only have commands below them.
func adminGroups() map[string]string {
	return map[string]string{
		"director":      "Backends, and where users are",
		"director ring": "Directors, and the coordinator's members",
		"proxy":         "Connections that a director has handed on to backends",
		"cluster":       "How the cluster is, and why",
		"acl":           "Rights on mailboxes",
		"share":         "What is shared, by the sharing index",
		"team":          "Mailboxes that are nobody's, and their members",
	}
}

// adminCommands are the operations as commands, those of one word first.
func adminCommands() []*cobra.Command {
	groups := map[string]*cobra.Command{}
	var top []*cobra.Command
	add := func(path string, cmd *cobra.Command) {
		i := strings.LastIndexByte(path, ' ')
		if i < 0 {
			top = append(top, cmd)
			return
		}
		groups[path[:i]].AddCommand(cmd)
	}
	for _, path := range []string{"director", "director ring", "proxy", "cluster", "acl", "share", "team"} {
		words := strings.Fields(path)
		groups[path] = &cobra.Command{Use: words[len(words)-1], Short: adminGroups()[path]}
		add(path, groups[path])
	}
	for _, op := range admin.Operations() {
		if op.Name != "reload" { // reloadCommand
			add(op.Name, operationCommand(&op))
		}
	}
	return top
}

// adminFlags say which server is called, and how the answer is shown.
type adminFlags struct {
	file, socket, server, tokenFile, caFile string
	json, quiet                             bool
}

func (f *adminFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "config", "c", "", "the server's configuration file, which says where its socket is")
	flags.StringVar(&f.socket, "socket", "", "the server's socket (default /run/roost/admin.sock)")
	flags.StringVar(&f.server, "server", "", "https://HOST:PORT of another server's HTTP API")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the token for --server")
	flags.StringVar(&f.caFile, "ca-file", "", "authorities for --server, if the system's are not enough")
	flags.BoolVar(&f.json, "json", false, "print JSON")
}

// operationCommand is an operation as a command.
func operationCommand(op *admin.Operation) *cobra.Command {
	var f adminFlags
	words := strings.Fields(op.Usage())
	cmd := &cobra.Command{
		Use:     strings.Join(words[strings.Count(op.Name, " "):], " "),
		Aliases: op.Aliases, Short: op.Help, Long: op.Help + ".",
		ValidArgsFunction: func(cmd *cobra.Command, words []string, _ string) ([]string, cobra.ShellCompDirective) {
			return f.complete(cmd.Context(), op, len(words)), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, op, args) },
	}
	if op.Long != "" {
		cmd.Long += "\n\n" + wrapped(op.Long)
	}
	for _, a := range op.Args {
		if a.Rest { // whose words may begin with -
			cmd.Flags().SetInterspersed(false)
		}
		switch {
		case !a.Flag:
			cmd.Long += fmt.Sprintf("\n  %-10s %s", strings.ToUpper(a.Name), a.Help)
		case a.Type == admin.Bool:
			cmd.Flags().BoolP(a.Name, a.Short, false, a.Help)
		default:
			cmd.Flags().StringP(a.Name, a.Short, a.Default, a.Help)
		}
	}
	cmd.Long = strings.Replace(cmd.Long, "\n  ", "\n\n  ", 1)
	if cmd.Flags().ShorthandLookup("h") != nil { // as doveadm has it; there is --help
		cmd.Flags().Bool("help", false, "help for "+cmd.Name())
	}
	if op.Slow {
		cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	}
	f.add(cmd)
	return cmd
}

// completeTime is how long a shell waits for the names of backends.
const completeTime = 2 * time.Second

// complete are the words that may come next: the backends, where one is due.
func (f *adminFlags) complete(ctx context.Context, op *admin.Operation, n int) (hosts []string) {
	words := slices.DeleteFunc(slices.Clone(op.Args), func(a admin.Arg) bool { return a.Flag })
	if n >= len(words) || words[n].Type != admin.Host {
		return nil
	}
	client, err := f.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	status, _ := admin.Find("director status")
	res, err := client.Call(ctx, status, nil, nil)
	if st, ok := res.(*admin.DirectorStatusResult); ok && err == nil {
		for _, b := range st.Backends {
			hosts = append(hosts, b.Host)
		}
	}
	return hosts
}

// wrapped breaks lines at 80 columns.
func wrapped(text string) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+len(word) >= 80 {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return strings.Join(append(lines, line), "\n")
}

func (f *adminFlags) run(cmd *cobra.Command, op *admin.Operation, words []string) error {
	args, err := f.args(cmd, op, words)
	if err != nil {
		return shownError(err)
	}
	client, err := f.client()
	if err != nil {
		return err
	}
	res, err := client.Call(cmd.Context(), op, args, f.progress(cmd.ErrOrStderr()))
	if err != nil {
		return shownError(err)
	}
	out := cmd.OutOrStdout()
	if f.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		err = enc.Encode(res)
	} else {
		_, err = res.Table().WriteTo(out)
	}
	if partial, ok := res.(admin.Partial); err == nil && ok && len(partial.Missing()) > 0 {
		return exitError{errSaid, admin.ExitTemporary}
	}
	if verdict, ok := res.(admin.Verdict); err == nil && ok && verdict.Wrong() {
		return exitError{errSaid, admin.ExitFailed}
	}
	return err
}

// args are the words and flags, checked.
func (f *adminFlags) args(cmd *cobra.Command, op *admin.Operation, words []string) (admin.Args, error) {
	given, err := op.Words(words)
	if err != nil {
		return nil, err
	}
	for _, a := range op.Args {
		if flag := cmd.Flags().Lookup(a.Name); a.Flag && flag.Changed {
			given[a.Name] = flag.Value.String()
			if a.Type == admin.Users || a.Type == admin.File {
				if given[a.Name], err = readArgument(cmd, flag.Value.String()); err != nil {
					return nil, err
				}
			}
		}
	}
	return op.Parse(given)
}

// readArgument reads names, or a text, from a file, - for standard input.
func readArgument(cmd *cobra.Command, path string) (string, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, adminhttp.MaxBody+1))
	if err == nil && len(text) > adminhttp.MaxBody {
		err = fmt.Errorf("%s: more than %d bytes", path, adminhttp.MaxBody)
	}
	return string(text), err
}

// progress shows on stderr how far it is, a line each time that it changes.
func (f *adminFlags) progress(out io.Writer) func(admin.Progress) {
	if f.quiet {
		return nil
	}
	last := ""
	return func(p admin.Progress) {
		if text := p.String(); text != last {
			last = text
			fmt.Fprintln(out, text)
		}
	}
}

// client is the API that the flags name.
func (f *adminFlags) client() (*adminhttp.Client, error) {
	if f.server != "" {
		return f.remote()
	}
	path := f.socket
	switch {
	case path != "":
	case f.file == "":
		path = config.DefaultAdminSocket
	default:
		set, _, err := config.Load(f.file)
		if err != nil {
			return nil, err
		}
		if path = set.Admin.Socket; path == "" {
			return nil, usageError{fmt.Errorf("%s has no admin_socket_path: say --server and --token-file", f.file)}
		}
	}
	return adminhttp.Unix(path), nil
}

func (f *adminFlags) remote() (*adminhttp.Client, error) {
	if f.socket != "" || f.tokenFile == "" {
		return nil, usageError{errors.New("--server needs --token-file, and no --socket")}
	}
	token, err := readToken(f.tokenFile)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(f.server)
	if err != nil {
		return nil, usageError{fmt.Errorf("--server: %w", err)}
	}
	base, err := tlsconn.ClientConfig{CAFile: f.caFile}.TLS()
	if err != nil {
		return nil, err
	}
	c, err := adminhttp.Net(f.server, token, tlsconn.Named(base, u.Hostname(), false))
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// shownError is a failure with its text for people, and its exit code.
func shownError(err error) error {
	if told, ok := errors.AsType[*adminhttp.Error](err); ok {
		return exitError{told, told.Exit}
	}
	if e, ok := errors.AsType[*imap.Error](err); ok && e.Text != "" { // which has the cause in it
		return exitError{errors.New(e.Text), admin.ExitCode(err)}
	}
	return exitError{err, admin.ExitCode(err)}
}

func tokenCommand() *cobra.Command {
	var operate bool
	cmd := &cobra.Command{
		Use:   "token NAME [--operate]",
		Short: "Make a token for the HTTP API",
		Long: `Prints a new token, and the line for admin_tokens_file that lets it in: whoever shows
the token may look, and with --operate also change. The token is not kept anywhere:
put it into a file that only its user can read, for --token-file, or for
admin_peer_token_file of other nodes. The server takes the line after roost reload.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || strings.ContainsAny(args[0], " \t\n#") || args[0] == "" {
				return usageError{errors.New("usage: roost token NAME [--operate]; NAME is one word")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			token, line := adminhttp.NewToken(args[0], operate)
			fmt.Fprintf(cmd.OutOrStdout(), "token: %s\nline:  %s\n", token, line)
			return nil
		},
	}
	cmd.Flags().BoolVar(&operate, "operate", false, "it may also change what is changed by operations")
	return cmd
}

// reloadByAPI has the server of a configuration read it again, if it has a socket
// that can be reached; ok is false if it has none.
func reloadByAPI(ctx context.Context, set *config.Settings, out io.Writer) (ok bool, err error) {
	conn, err := net.Dial("unix", set.Admin.Socket)
	if err != nil {
		return false, nil
	}
	_ = conn.Close()
	op, _ := admin.Find("reload")
	res, err := adminhttp.Unix(set.Admin.Socket).Call(ctx, op, nil, nil)
	if err != nil {
		return true, shownError(err)
	}
	_, err = res.Table().WriteTo(out)
	return true, err
}
