package config

func clusterRows() []group {
	return []group{{"", "Cluster", []Row{
		imp("cluster", String, "", "The coordinator by which backends take over from each other: etcd://HOST[:PORT][,HOST[:PORT]...][/PREFIX], or embedded: the directors of director_servers are its members themselves. Unset, users are placed by director_mail_servers and nothing moves by itself.").
			to(func(s *Settings) any { return &s.Cluster.Coordinator }),
		imp("cluster_role", List, "", "What this node is: director, backend, or both. Unset: a director if director_servers or director_mail_servers is set, else a backend.").
			to(func(s *Settings) any { return &s.Cluster.Roles }),
		imp("cluster_name", String, "", "This node's name, which no other has and which stays. Unset: instance_name if that is set, else the host's name.").
			to(func(s *Settings) any { return &s.Cluster.Name }),
		imp("cluster_address", String, "", "HOST[:PORT] where directors reach this backend. Unset: the host's name and the port of the first listener without haproxy.").
			to(func(s *Settings) any { return &s.Cluster.Address }),
		imp("cluster_tag", String, "", "The tag of this backend: it serves only users whose passdb entry has it as director_tag.").
			to(func(s *Settings) any { return &s.Cluster.Tag }),
		imp("cluster_lease_ttl", Time, "5 secs", "How long a backend that says nothing keeps its users; 3 seconds to a minute.").
			to(func(s *Settings) any { return &s.Cluster.LeaseTTL }),
		imp("cluster_storage_timeout", Time, "10 secs", "How long a write to the mail's filesystem may hang before the backend gives its users up.").
			to(func(s *Settings) any { return &s.Cluster.StorageTimeout }),
		imp("cluster_commit_check", Enum, "coordinator", "What is asked after each durable write whether this backend still holds the user: the coordinator, or only the clock, which assumes that the machine is never paused.").enum("coordinator", "clock").
			to(func(s *Settings) any { return &s.Cluster.CommitCheck }),
		imp("cluster_delegation", Enum, "auto", "How backends log in for others' shared mail, with a coordinator: auto by what they sign for users that they hold, and by imapc_password only where that is not known; required by nothing else; no by imapc_password alone, and nothing that is signed is taken.").enum("auto", "required", "no").
			to(func(s *Settings) any { return &s.Cluster.Delegation }),
		imp("cluster_fence_command", String, "", "Program that cuts a backend off from the mail's filesystem, or off the power; its argument is the backend's name, and 0 its success.").
			to(func(s *Settings) any { return &s.Cluster.FenceCommand }),
		imp("cluster_user", String, "", "User at the coordinator.").
			to(func(s *Settings) any { return &s.Cluster.User }),
		imp("cluster_password", String, "", "The user's password there.").
			to(func(s *Settings) any { return &s.Cluster.Password }).secret(),
		imp("cluster_ssl_ca", String, "", "File with the authorities that the coordinator's certificates are from. With it connections to the coordinator, and between its embedded members, are encrypted and verified.").
			to(func(s *Settings) any { return &s.Cluster.CAFile }),
		imp("cluster_ssl_cert", String, "", "File with this node's certificate for the coordinator.").
			to(func(s *Settings) any { return &s.Cluster.CertFile }),
		imp("cluster_ssl_key", String, "", "File with its key.").
			to(func(s *Settings) any { return &s.Cluster.KeyFile }),
		imp("cluster_data_dir", String, "/var/lib/roost/coordinator", "Directory of an embedded member, on another disk than the mail.").
			to(func(s *Settings) any { return &s.Cluster.DataDir }),
		imp("cluster_witness", String, "", "HOST of a backend that is an embedded member too, so that there are three with two directors.").
			to(func(s *Settings) any { return &s.Cluster.Witness }),
		imp("cluster_member", String, "", "Which of director_servers and cluster_witness this node is. Unset: the one with an address of this host.").
			to(func(s *Settings) any { return &s.Cluster.Member }),
		imp("cluster_client_port", Port, "2379", "Port where an embedded member serves nodes.").
			to(func(s *Settings) any { return &s.Cluster.ClientPort }),
		imp("cluster_peer_port", Port, "2380", "Port where an embedded member serves the others.").
			to(func(s *Settings) any { return &s.Cluster.PeerPort }),
	}}}
}
