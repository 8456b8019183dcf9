package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/dict"
)

// dictCommand is doveadm's "dict", for all dictionaries that Roost knows.
func dictCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dict",
		Short: "Read and write dictionaries",
		Long: `Reads and writes a dictionary, as doveadm dict does. DICT is what acl_shared_dict
may be, such as file:/srv/mail/shares, redis:host=192.0.2.1 or etcd://192.0.2.1;
proxy::NAME and etcd: need -c. Keys begin with shared/. Backends see within
about a second what is changed here; a wrong key of sharing is put right when its
owner's mail is next opened. Exit codes: 68 if there is no such key, 64 for a
wrong command line.`,
	}
	var d dictArgs
	cmd.PersistentFlags().StringVarP(&d.file, "config", "c", "", "configuration file, for proxy::NAME and etcd:")
	cmd.PersistentFlags().StringVarP(&d.user, "user", "u", "", "accepted as doveadm has it; shared keys have no user")
	cmd.PersistentFlags().BoolVar(&d.json, "json", false, "print JSON")
	iter := &cobra.Command{
		Use: "iter [-R] [-1] [-V] DICT PREFIX", Short: "List the keys below a prefix",
		RunE: d.run(2, d.iter),
	}
	iter.Flags().BoolVarP(&d.recurse, "recurse", "R", false, "at any depth, not the next alone")
	iter.Flags().BoolVarP(&d.exact, "exact", "1", false, "the key PREFIX itself and no other")
	iter.Flags().BoolVarP(&d.noValue, "no-value", "V", false, "keys only")
	cmd.AddCommand(
		&cobra.Command{Use: "get DICT KEY", Short: "Print the value of a key", RunE: d.run(2, d.get)},
		&cobra.Command{Use: "set DICT KEY VALUE", Short: "Give a key a value", RunE: d.run(3, d.set)},
		&cobra.Command{Use: "unset DICT KEY", Short: "Remove a key, if it is there", RunE: d.run(2, d.unset)},
		iter,
	)
	return cmd
}

// exitNoKey is doveadm's exit code for a key that is not there.
const exitNoKey = 68

// dictArgs are the flags of one call.
type dictArgs struct {
	file, user              string
	json                    bool
	recurse, exact, noValue bool
}

type dictRun func(ctx context.Context, w io.Writer, d dict.Dict, args []string) error

// run opens the dictionary, which is the first of n arguments, for f.
func (a *dictArgs) run(n int, f dictRun) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		if len(args) != n {
			return usageError{fmt.Errorf("usage: roost dict %s", cmd.Use)}
		}
		set := &config.Settings{}
		if a.file != "" {
			if set, _, err = config.Load(a.file); err != nil {
				return err
			}
		}
		if a.file == "" && (strings.HasPrefix(args[0], "proxy:") || args[0] == "etcd:") {
			return usageError{fmt.Errorf("%s: name the configuration file with -c", args[0])}
		}
		cfg, err := set.Dict(args[0])
		if err != nil {
			return usageError{err}
		}
		d, err := openDict(set, cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		if err != nil {
			return usageError{err}
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		err = f(cmd.Context(), cmd.OutOrStdout(), d, args[1:])
		if errors.Is(err, dict.ErrInvalid) {
			return usageError{err}
		}
		return err
	}
}

func (a *dictArgs) get(ctx context.Context, w io.Writer, d dict.Dict, args []string) error {
	value, ok, err := d.Get(ctx, args[0])
	if err != nil {
		return err
	}
	if !ok {
		return exitError{fmt.Errorf("%s doesn't exist", args[0]), exitNoKey}
	}
	if a.json {
		return writeList(w, []map[string]string{{"value": value}})
	}
	_, err = fmt.Fprintln(w, value)
	return err
}

func (a *dictArgs) set(ctx context.Context, _ io.Writer, d dict.Dict, args []string) error {
	return d.Commit(ctx, []dict.Change{dict.Set(args[0], args[1])})
}

func (a *dictArgs) unset(ctx context.Context, _ io.Writer, d dict.Dict, args []string) error {
	return d.Commit(ctx, []dict.Change{dict.Unset(args[0])})
}

func (a *dictArgs) iter(ctx context.Context, w io.Writer, d dict.Dict, args []string) error {
	entries, err := a.find(ctx, d, args[0])
	if err != nil {
		return err
	}
	if a.json {
		list := make([]map[string]string, len(entries))
		for i, e := range entries {
			if list[i] = map[string]string{"key": e.Key}; !a.noValue {
				list[i]["value"] = e.Value
			}
		}
		return writeList(w, list)
	}
	var b strings.Builder
	row := func(key, value string) {
		b.WriteString(tabEscape(key))
		if !a.noValue {
			b.WriteString("\t" + tabEscape(value))
		}
		b.WriteByte('\n')
	}
	row("key", "value")
	for _, e := range entries {
		row(e.Key, e.Value)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

func (a *dictArgs) find(ctx context.Context, d dict.Dict, prefix string) (entries []dict.Entry, err error) {
	if a.exact {
		value, ok, err := d.Get(ctx, prefix)
		if err != nil || !ok {
			return nil, err
		}
		return []dict.Entry{{Key: prefix, Value: value}}, nil
	}
	err = d.Iterate(ctx, prefix, func(key, value string) error {
		if a.recurse || !strings.Contains(key[len(prefix):], "/") {
			entries = append(entries, dict.Entry{Key: key, Value: value})
		}
		return nil
	})
	return entries, err
}

// tabEscape keeps a text in its column, as doveadm does: \t, \n, \r and \001 are
// written with \001 before a letter.
func tabEscape(s string) string {
	return strings.NewReplacer("\x01", "\x011", "\t", "\x01t", "\r", "\x01r", "\n", "\x01n").Replace(s)
}

// writeList prints what is found as JSON, as doveadm -f json does.
func writeList(w io.Writer, list []map[string]string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(list)
}
