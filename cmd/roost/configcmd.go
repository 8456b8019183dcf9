package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/config"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check or show a configuration file"}
	cmd.AddCommand(configCheckCommand(), configShowCommand())
	return cmd
}

func configCheckCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with a file, with line numbers",
		Long:  "Reads FILE and all it includes, prints every error and warning as file:line: text,\nand fails if there is an error. Certificates, keys, tokens and files of rights and users\nthat it names are read too: say it as the user that roost serve runs as.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := fileArg(file, args)
			if err != nil {
				return err
			}
			if !config.Check(cmd.OutOrStdout(), path, checkFiles) {
				return errSaid
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the file, as for serve")
	return cmd
}

// checkFiles reads what a server reads at its start beside its configuration.
func checkFiles(set *config.Settings) ([]config.Warning, error) {
	p := &parts{log: slog.New(slog.DiscardHandler)}
	if _, err := p.read(set); err != nil {
		return nil, err
	}
	if _, err := coordinatorTLS(&set.Cluster); err != nil {
		return nil, fmt.Errorf("%s: %w", set.Where("cluster_ssl_ca"), err)
	}
	return slices.Concat(unreadable(set), coordinatorDoubts(set), volumesAway(set)), nil
}

func configShowCommand() *cobra.Command {
	var (
		file string
		opts config.ShowOptions
	)
	cmd := &cobra.Command{
		Use:   "show [-n] FILE",
		Short: "Show the settings of a file",
		Long:  "Shows all settings as they hold. Passwords are hidden unless -P is given.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := fileArg(file, args)
			if err != nil {
				return err
			}
			set, _, err := config.Load(path)
			if err != nil {
				return err
			}
			return config.Show(cmd.OutOrStdout(), set, opts)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the file, as for serve")
	cmd.Flags().BoolVarP(&opts.NonDefault, "non-default", "n", false, "only what differs from the default")
	cmd.Flags().BoolVarP(&opts.Secrets, "passwords", "P", false, "show passwords too")
	return cmd
}

// fileArg is the configuration file, named by -c or as the argument.
func fileArg(flag string, args []string) (string, error) {
	switch {
	case flag != "" && len(args) == 0:
		return flag, nil
	case flag == "" && len(args) == 1:
		return args[0], nil
	}
	return "", usageError{errors.New("name one configuration file")}
}
