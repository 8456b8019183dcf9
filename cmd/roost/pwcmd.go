package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/auth"
)

// pwFlags are the flags of roost pw.
type pwFlags struct {
	scheme, user, password, test string
	rounds                       int
	list, json                   bool
}

func pwCommand() *cobra.Command {
	var f pwFlags
	cmd := &cobra.Command{
		Use:   "pw [-s SCHEME] [-r ROUNDS] [-u USER] [-p PASSWORD] | pw -t HASH [-p PASSWORD] | pw -l",
		Short: "Make or test a password hash, as passdbs keep them",
		Long: `Prints {SCHEME}hash of a password, which is asked for twice without -p, or read
from standard input where that is no terminal. With -t it says whether a hash is
that of the password, and fails if it is not. Other users of this machine can see
-p in the list of processes.`,
		Example: `  roost pw -s ARGON2ID
  roost pw -s SSHA512.HEX -p secret
  roost pw -t '{SHA512-CRYPT}$6$...'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().StringVarP(&f.scheme, "scheme", "s", "SHA512-CRYPT", "scheme; with .HEX or .B64 behind it, that encoding")
	cmd.Flags().IntVarP(&f.rounds, "rounds", "r", 0, "cost of the hash, for schemes that have one (0: the scheme's own)")
	cmd.Flags().StringVarP(&f.user, "user", "u", "", "user name, which DIGEST-MD5 needs")
	cmd.Flags().StringVarP(&f.password, "password", "p", "", "the password")
	cmd.Flags().StringVarP(&f.test, "test", "t", "", "a hash to test the password against")
	cmd.Flags().BoolVarP(&f.list, "list", "l", false, "list the schemes")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

func (f *pwFlags) run(cmd *cobra.Command) error {
	out := cmd.OutOrStdout()
	switch {
	case f.list:
		return f.printSchemes(out)
	case f.test != "":
		password, err := givenPassword(cmd, f.password, "Password: ")
		if err != nil {
			return err
		}
		ok, err := auth.VerifyPassword(cmd.Context(), f.test, f.user, password)
		if err != nil {
			return err
		}
		return f.printTest(out, ok)
	}
	password, err := newPassword(cmd, f.password)
	if err != nil {
		return err
	}
	hash, err := auth.HashPassword(f.scheme, f.user, password, f.rounds)
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(out, map[string]string{"hash": hash})
	}
	fmt.Fprintln(out, hash)
	return nil
}

func (f *pwFlags) printSchemes(out io.Writer) error {
	list := auth.Schemes()
	if f.json {
		return printJSON(out, list)
	}
	for _, s := range list {
		fmt.Fprintln(out, s.Name)
	}
	return nil
}

func (f *pwFlags) printTest(out io.Writer, ok bool) error {
	switch {
	case f.json:
		if err := printJSON(out, map[string]bool{"verified": ok}); err != nil {
			return err
		}
	case ok:
		fmt.Fprintln(out, f.test, "(verified)")
	default:
		return errors.New("password mismatch")
	}
	if !ok {
		return errSaid
	}
	return nil
}

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// newPassword is a password that was typed twice alike.
func newPassword(cmd *cobra.Command, given string) (string, error) {
	password, err := givenPassword(cmd, given, "New password: ")
	if err != nil || given != "" || !isTerminal(cmd.InOrStdin()) {
		return password, err
	}
	again, err := givenPassword(cmd, "", "The same again: ")
	if err == nil && again != password {
		err = errors.New("the passwords differ")
	}
	return password, err
}

// givenPassword is given, or what is typed without echo, or the first line of a
// standard input that is no terminal.
func givenPassword(cmd *cobra.Command, given, prompt string) (string, error) {
	if given != "" {
		return given, nil
	}
	in := cmd.InOrStdin()
	if isTerminal(in) {
		fmt.Fprint(cmd.ErrOrStderr(), prompt)
		defer fmt.Fprintln(cmd.ErrOrStderr())
		restore, err := echoOff(int(in.(*os.File).Fd()))
		if err != nil {
			return "", err
		}
		defer restore()
	}
	line, err := readLine(in)
	if line == "" && err == nil {
		err = errors.New("no password given")
	}
	return line, err
}

// readLine reads no further than the line, so that another can follow.
func readLine(in io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < 8<<10; {
		n, err := in.Read(one)
		switch {
		case n == 1 && one[0] != '\n':
			line = append(line, one[0])
		case n == 1 || err == io.EOF:
			return strings.TrimSuffix(string(line), "\r"), nil
		case err != nil:
			return "", err
		}
	}
	return "", errors.New("the line is too long")
}

func isTerminal(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// echoOff makes a terminal not show what is typed.
func echoOff(fd int) (restore func(), err error) {
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	quiet := *old
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }, nil
}
