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
func (n *node) openSharing() error {
	if err := n.openForeign(); err != nil {
		return err
	}
	if n.set.ACL.SharedDict.Driver == "" {
		return nil
	}
	var err error
	if n.sharing, err = n.openIndex(n.set.ACL.SharedDict); err != nil {
		return fmt.Errorf("%s: acl_shared_dict: %w", n.set.Where("plugin/acl_shared_dict"), err)
	}
	publishing := share.PublisherConfig{
		Dict: n.sharing.writer(), Log: n.log, Open: n.parts.openHome, Rules: n.parts.rulesOf,
		Exists: n.parts.exists, Sweep: n.set.ACL.SweepInterval, Mended: n.parts.auditMended,
	}
	if n.holder != nil {
		publishing.Mine = n.holder.Keeps
	}
	n.publisher = share.NewPublisher(publishing)
	return nil
}

// sharing is a sharing index and its dictionary. LIST reads a copy in memory, unless the
// dictionary is one itself.
type sharing struct {
	dict   dict.Dict
	mirror *dict.Mirror // of dict; nil if reading dict costs next to nothing
	index  *share.Index
}

func (n *node) openIndex(cfg config.Dict) (*sharing, error) {
	d, err := openDict(n.set, cfg, n.log)
	if err != nil {
		return nil, err
	}
	x := &sharing{dict: d}
	var source share.Source = d
	if cfg.Driver != "file" {
		x.mirror = dict.NewMirror(d, dict.MirrorOptions{Log: n.log})
		source = x.mirror
	}
	x.index = share.NewIndex(source, n.log)
	return x, nil
}

// writer is the dictionary, whose copy shows at once what is written.
func (x *sharing) writer() dict.Dict {
	if x.mirror == nil {
		return x.dict
	}
	return x.mirror.Writer()
}

func (x *sharing) close() error {
	if x.mirror != nil {
		x.mirror.Close()
	}
	return x.dict.Close()
}

// openForeign opens the dictionaries that namespaces have of their own, which are only read.
func (n *node) openForeign() error {
	n.foreign = map[string]*sharing{}
	for i := range n.set.Namespaces {
		ns := &n.set.Namespaces[i]
		cfg := ns.SharedDict
		if cfg.Driver == "" || n.foreign[cfg.URI] != nil {
			continue
		}
		x, err := n.openIndex(cfg)
		if err != nil {
			return fmt.Errorf("%s: namespace %s: acl_shared_dict: %w", ns.Pos, ns.Name, err)
		}
		n.foreign[cfg.URI] = x
	}
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
