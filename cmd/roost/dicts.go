package main

import (
	"fmt"
	"log/slog"

	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/dict/dictetcd"
	"github.com/roost-mail/roost/dict/dictfile"
	"github.com/roost-mail/roost/dict/dictfs"
	"github.com/roost-mail/roost/dict/dictredis"
	"github.com/roost-mail/roost/dict/dictsql"
	"github.com/roost-mail/roost/share"
)

// openSharing opens the dictionary of acl_shared_dict, and what reads and writes it.
// LIST reads a copy in memory, unless the dictionary is one itself.
func (n *node) openSharing() error {
	cfg := n.set.ACL.SharedDict
	if cfg.Driver == "" {
		return nil
	}
	d, err := openDict(n.set, cfg, n.log)
	if err != nil {
		return fmt.Errorf("%s: acl_shared_dict: %w", n.set.Where("plugin/acl_shared_dict"), err)
	}
	n.dict = d
	var source share.Source = d
	writer := d
	if cfg.Driver != "file" {
		n.mirror = dict.NewMirror(d, dict.MirrorOptions{Log: n.log})
		source, writer = n.mirror, n.mirror.Writer()
	}
	n.index = share.NewIndex(source, n.log)
	n.publisher = share.NewPublisher(share.PublisherConfig{
		Dict: writer, Log: n.log, Open: n.parts.openHome, Rules: n.parts.aclRules(n.set),
		Exists: n.parts.exists, Mine: n.holds, Sweep: n.set.ACL.SweepInterval,
	})
	return nil
}

// openDict opens a dictionary. Its server need not be there yet.
func openDict(set *config.Settings, d config.Dict, log *slog.Logger) (dict.Dict, error) {
	switch d.Driver {
	case "file":
		path, opts, err := dictfile.ParseURI(d.URI)
		if err != nil {
			return nil, err
		}
		opts.Logger = log
		return dictfile.Open(path, opts)
	case "fs":
		dir, opts, err := dictfs.ParseURI(d.URI)
		if err != nil {
			return nil, err
		}
		return dictfs.Open(dir, opts), nil
	case "redis":
		cfg, err := dictredis.ParseURI(d.URI)
		if err != nil {
			return nil, err
		}
		return dictredis.Open(cfg), nil
	case "etcd":
		t, err := coordinatorTLS(&set.Cluster)
		if err != nil {
			return nil, err
		}
		return dictetcd.Open(dictetcd.Config{
			Endpoints: d.Endpoints, Prefix: d.Prefix, TLS: t, User: set.Cluster.User, Password: set.Cluster.Password,
		}), nil
	}
	return dictsql.Open(sqlConfig(d))
}

func sqlConfig(d config.Dict) dictsql.Config {
	cfg := dictsql.Config{Driver: d.Driver, Name: d.Name, Connect: d.SQL.Connect}
	if cfg.Name == "" {
		cfg.Name = d.SQL.File
	}
	for _, m := range d.SQL.Maps {
		to := dictsql.Map{Pattern: m.Pattern, Table: m.Table, ValueField: m.ValueField, ValueType: dictsql.Type(m.ValueType)}
		for i, column := range m.Columns {
			to.Fields = append(to.Fields, dictsql.Field{Column: column, Variable: m.Variables[i], Type: dictsql.Type(m.Kinds[i])})
		}
		cfg.Maps = append(cfg.Maps, to)
	}
	return cfg
}
