/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Container engines: which networks they have, and which bridge each one is.
 *
 * An engine is asked over its Unix socket, never over TCP: the bridges of
 * another host are no use here. Every question has a limit in time, every
 * answer one in size, and names in it are checked like those of rule files.
 */
#ifndef NAT_BRIDGE_ENGINE_H
#define NAT_BRIDGE_ENGINE_H

#include <sys/types.h>

#include "nat-bridge/mapping.h"

#define NB_ENGINE_WAIT_MS 3000 /* for one answer */
#define NB_ENGINE_WHY	  384

/* A network as its engine describes it. */
struct nb_engine_network {
	char name[NB_NETWORK_NAME_SIZE];
	char bridge[NB_IFNAME_SIZE]; /* "": there is none on this host */
	const char *instead; /* what to do when there is none: "is a macvlan: ..."; else NULL */
	bool internal;	     /* its containers reach nothing but each other */
};

/* What an engine said. */
struct nb_engine_answer {
	bool known;	/* it answered; otherwise there are no networks, and why says what to do */
	bool absent;	/* not known, because there is no trace of it: not installed, or stopped */
	bool elsewhere; /* not known, because it is another one, or another user's */
	char why[NB_ENGINE_WHY];
	struct nb_engine_network *networks; /* sorted by name; two may have the same */
	size_t count;
};

/* Where engines are to be found. NULL: where they are by default. */
struct nb_engine_places {
	const char *docker;	     /* path of the socket */
	const char *podman;	     /* likewise */
	const char *podman_networks; /* directory of Podman's network files */
	const char *home;	     /* of who calls, to find an engine of their own */
	bool wake; /* Podman's service may be started by the question, as it is by its own client */
};

/* "Docker", "Podman": as a person writes it. */
const char *nb_engine_title(enum nb_engine engine);

/*
 * Which networks has @engine (NB_ENGINE_DOCKER or NB_ENGINE_PODMAN)? One that
 * does not answer in NB_ENGINE_WAIT_MS is no failure: @ret says so. One that systemd would start
 * because it is asked is not asked. -ENOMEM is
 * the only one. @ret is zeroed first; free with nb_engine_answer_clear().
 */
int nb_engine_ask(enum nb_engine engine, const struct nb_engine_places *places,
		  struct nb_engine_answer *ret);
void nb_engine_answer_clear(struct nb_engine_answer *answer);

#define NB_SNAP_SOCKET "/run/snap.docker/docker.sock"

/* What kind of engine stands where root's own does not answer. */
enum nb_engine_kind {
	NB_ENGINE_OWN,	    /* root's own, or none: there is no trace of another */
	NB_ENGINE_ROOTLESS, /* a user's, whose bridges are in a network namespace of their own */
	NB_ENGINE_DESKTOP,  /* Docker Desktop's, in a virtual machine */
	NB_ENGINE_SNAP,	    /* the snap's: root's, at a socket of its own */
};

struct nb_engine_other {
	enum nb_engine_kind kind;
	char socket[108]; /* "": there are files of it alone */
	bool answers;	  /* somebody listens there; what follows is of that process */
	pid_t pid;	  /* 0: not known */
	uid_t uid;
	bool apart;	  /* its network namespace is another than the caller's */
	char program[16]; /* "dockerd"; systemd, where that listens for it */
};

/*
 * Which other engine is there, if any, than root's at its usual place? Of an engine that was named
 * in @places, what that is. The socket is connected to, and nothing is said. @ret is filled in any
 * case. @places may be NULL.
 */
void nb_engine_find_other(enum nb_engine engine, const struct nb_engine_places *places,
			  struct nb_engine_other *ret);

/* A container as its engine describes it. */
struct nb_engine_container {
	bool known;  /* the engine answered; otherwise why says what to do */
	bool absent; /* not known, because there is no trace of the engine */
	bool found;  /* it has such a container */
	char why[NB_ENGINE_WHY];
	pid_t pid;	 /* its first process, as this host numbers it; 0: it does not run */
	char shares[80]; /* the container whose network it uses, or "" */
	char (*networks)[NB_NETWORK_NAME_SIZE]; /* names of its networks */
	size_t count;
};

/*
 * Which networks has the container @name? As nb_engine_ask(). Podman is asked over its socket
 * alone: no file of a fixed form says it, and unless @places->wake it has to run. Free with nb_engine_container_clear().
 */
int nb_engine_ask_container(enum nb_engine engine, const struct nb_engine_places *places,
			    const char *name, struct nb_engine_container *ret);
void nb_engine_container_clear(struct nb_engine_container *container);

/*
 * The container whose name is nearest to @name: to @ret_name (NB_NETWORK_NAME_SIZE bytes), "" if
 * none is near, or if the engine does not answer. As nb_engine_ask_container(). -ENOMEM.
 */
int nb_engine_find_nearest(enum nb_engine engine, const struct nb_engine_places *places,
			   const char *name, char *ret_name);

/* A port of the host that a running container publishes, on other addresses than 127.0.0.0/8 too. */
struct nb_engine_published {
	uint16_t port; /* host byte order */
	uint8_t protocol;
	char container[NB_NETWORK_NAME_SIZE];
};

struct nb_engine_published_list {
	struct nb_engine_published *items;
	size_t count;
};

/*
 * What running containers publish. An engine that does not answer has none. -ENOMEM. @ret is
 * zeroed first; free with nb_engine_published_list_clear(), also after a failure.
 */
int nb_engine_ask_published(enum nb_engine engine, const struct nb_engine_places *places,
			    struct nb_engine_published_list *ret);
void nb_engine_published_list_clear(struct nb_engine_published_list *list);

/* Who has which IPv4 address (host byte order) in a network. */
struct nb_engine_endpoint {
	uint32_t address;
	char container[NB_NETWORK_NAME_SIZE];
};

struct nb_engine_endpoints {
	struct nb_engine_endpoint *items;
	size_t count;
	bool known; /* the engine answered, and has the network */
};

/*
 * The containers in @network. One that the engine does not know, or an engine that does not
 * answer, has none. -ENOMEM. @ret is zeroed first; free with nb_engine_endpoints_clear().
 */
int nb_engine_ask_endpoints(enum nb_engine engine, const struct nb_engine_places *places,
			    const char *network, struct nb_engine_endpoints *ret);
void nb_engine_endpoints_clear(struct nb_engine_endpoints *endpoints);

/*
 * A descriptor that becomes readable when networks of @engine change, or containers join and
 * leave them; what is read from it means nothing more, and its end is that of the engine.
 * -errno: the engine does not answer, is about to start (-EAGAIN), or does not tell
 * (-EOPNOTSUPP).
 */
int nb_engine_listen(enum nb_engine engine, const struct nb_engine_places *places);

/* The first network of that name, or NULL. A second of the same name follows it. */
const struct nb_engine_network *nb_engine_find(const struct nb_engine_answer *answer,
					       const char *name);

/*
 * The path in DOCKER_HOST or CONTAINER_HOST: "unix:///run/docker.sock".
 * -EINVAL with a sentence in @why for any other kind of address.
 */
int nb_engine_socket_parse(const char *address, const char **ret_path, char *why, size_t why_size);

#endif
