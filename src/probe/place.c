/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places: made, entered, left.
 *
 * Nothing of a place has to be cleaned up after a kill, at whatever moment:
 *   the namespace   has no name; it goes with the descriptor, and that with the process
 *   the veth        its peer is made in the namespace, by the message that makes it; a namespace
 *                   that goes deletes its devices, and a veth's end takes the other along
 *   address, routes are the veth's
 * The kernel does that a moment after the process has gone.
 */
#include "place.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* 198.18.0.0/15 is for measuring network devices (RFC 2544): nobody's, and routed nowhere. */
#define TEST_NETWORK UINT32_C(0xc6120000)
#define TEST_BITS    15
#define OWN_NETWORK  "/proc/thread-self/ns/net"

struct thread_work {
	int namespace; /* -1: a new one */
	int (*work)(void *data);
	void *data;
	int result;
};

static void *do_work(void *data)
{
	struct thread_work *work = data;

	if ((work->namespace < 0 ? unshare(CLONE_NEWNET) : setns(work->namespace, CLONE_NEWNET)) <
	    0)
		work->result = -errno;
	else
		work->result = work->work(work->data);
	return NULL;
}

static int do_in_thread(struct thread_work *work)
{
	sigset_t all, before;
	pthread_t thread;
	int r;

	/* signals are for the caller's thread, which knows what to do with them */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, NULL, do_work, work);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return -r;
	pthread_join(thread, NULL);
	return work->result;
}

int nb_place_do(const struct nb_probe_place *place, int (*work)(void *data), void *data)
{
	struct thread_work thread = { .namespace = place->namespace, .work = work, .data = data };

	return do_in_thread(&thread);
}

int nb_probe_do(struct nb_probe_place *place, int (*work)(void *data), void *data)
{
	return nb_place_do(place, work, data);
}

static int open_own(void *data)
{
	int *fd = data;

	*fd = open(OWN_NETWORK, O_RDONLY | O_CLOEXEC);
	return *fd < 0 ? -errno : 0;
}

static int fail(struct nb_error *err, int r, const char *what)
{
	return nb_netlink_error(err, NULL, r, what);
}

static int new_place(struct nb_netlink *nl, struct nb_probe_place **ret, struct nb_error *err)
{
	struct nb_probe_place *place = calloc(1, sizeof(*place));
	struct thread_work thread = { .namespace = -1, .work = open_own };
	unsigned char random[4];
	int r;

	if (!place)
		return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	place->nl = nl;
	place->namespace = -1;
	thread.data = &place->namespace;
	r = do_in_thread(&thread);
	if (r < 0 || getrandom(random, sizeof(random), 0) != sizeof(random)) {
		r = fail(err, r < 0 ? r : -EIO, "make a network namespace for probes");
		nb_probe_leave(place);
		return r;
	}
	snprintf(place->name, sizeof(place->name), NB_PROBE_PREFIX "%02x%02x%02x%02x", random[0],
		 random[1], random[2], random[3]);
	*ret = place;
	return 0;
}

/* What is done in the place's namespace, by a netlink socket of its own. */
struct inside {
	struct nb_probe_place *place;
	struct nb_prefix network; /* the gateway's address */
	const uint32_t *avoid;
	size_t avoid_count;
	struct nb_error *err;
};

static int set_up_device(struct inside *inside, struct nb_netlink *nl)
{
	struct nb_probe_place *place = inside->place;
	struct nb_place_device device = { 0 };
	int r = nb_device_find(nl, "lo", &device);

	if (r == 0)
		r = nb_device_set_up(nl, device.index, true);
	if (r == 0)
		r = nb_device_find(nl, "eth0", &device);
	if (r == 0)
		r = nb_device_set_up(nl, device.index, true);
	place->device = device.index;
	memcpy(place->mac, device.mac, sizeof(place->mac));
	return r < 0 ? fail(inside->err, r, "set the probe's device up") : 0;
}

static int set_address(struct inside *inside, struct nb_netlink *nl)
{
	struct nb_probe_place *place = inside->place;
	const struct nb_prefix own = { .address = place->address,
				       .length = inside->network.length };
	int r = nb_device_add_address(nl, place->device, &own);

	if (r == 0)
		r = nb_device_add_gateway(nl, place->device, place->gateway);
	return r < 0 ? fail(inside->err, r, "set the probe's address") : 0;
}

static int with_netlink(struct inside *inside,
			int (*work)(struct inside *inside, struct nb_netlink *nl))
{
	struct nb_netlink *nl = nb_netlink_new();
	int r;

	if (!nl)
		return nb_error_set(inside->err, NB_STATUS_FAILED, ENOMEM, "memory",
				    "out of memory");
	r = work(inside, nl);
	nb_netlink_free(nl);
	return r;
}

static int prepare_inside(void *data)
{
	return with_netlink(data, set_up_device);
}

static int finish_inside(void *data)
{
	struct inside *inside = data;
	int r = nb_place_find_address(inside->place, &inside->network, inside->avoid,
				      inside->avoid_count, inside->err);

	return r < 0 ? r : with_netlink(inside, set_address);
}

/* The veth, both ends up. @mtu as the bridge has it. */
static int make_veth(struct inside *inside, int master, int mtu)
{
	struct nb_probe_place *place = inside->place;
	struct nb_place_device device = { 0 };
	int r = nb_device_make(place->nl, place->name, master, mtu, place->namespace);

	if (r == 0)
		r = nb_device_find(place->nl, place->name, &device);
	if (r < 0)
		return fail(inside->err, r, "make a device for probes");
	place->ifindex = device.index;
	/* the peer first: then a bridge finds a carrier when its port comes up */
	r = nb_place_do(place, prepare_inside, inside);
	if (r < 0)
		return r;
	r = nb_device_set_up(place->nl, place->ifindex, true);
	return r < 0 ? fail(inside->err, r, "set the probe's device up") : 0;
}

static int find_bridge(struct nb_netlink *nl, const char *name, struct nb_place_device *bridge,
		       struct nb_prefix *ret, struct nb_error *err)
{
	int r = nb_device_find(nl, name, bridge);

	if (r < 0)
		return nb_error_set(err, NB_STATUS_FAILED, -r, "kernel", "bridge %s: %s", name,
				    r == -ENODEV ? "there is no such device" : strerror(-r));
	r = nb_route_address(nl, bridge->index, ret, err);
	if (r < 0)
		return r;
	if (ret->length == 0 || ret->length > 30)
		return nb_error_set(err, NB_STATUS_FAILED, EADDRNOTAVAIL, "kernel",
				    "bridge %s has no IPv4 network", name);
	if (!bridge->up)
		return nb_error_set(err, NB_STATUS_FAILED, ENETDOWN, "kernel", "bridge %s is down",
				    name);
	return 0;
}

int nb_probe_join_beside(struct nb_netlink *nl, const char *bridge, const uint32_t *avoid,
			 size_t count, struct nb_probe_place **ret, struct nb_error *err)
{
	struct inside inside = { .avoid = avoid, .avoid_count = count, .err = err };
	struct nb_place_device device = { 0 };
	int r = find_bridge(nl, bridge, &device, &inside.network, err);

	*ret = NULL;
	if (r == 0)
		r = new_place(nl, &inside.place, err);
	if (!inside.place)
		return r;
	r = make_veth(&inside, device.index, device.mtu);
	if (r == 0)
		r = nb_place_do(inside.place, finish_inside, &inside);
	if (r < 0) {
		nb_error_prefix(err, "bridge %s", bridge);
		nb_probe_leave(inside.place);
		return r;
	}
	*ret = inside.place;
	return 0;
}

int nb_probe_join(struct nb_netlink *nl, const char *bridge, struct nb_probe_place **ret,
		  struct nb_error *err)
{
	return nb_probe_join_beside(nl, bridge, NULL, 0, ret, err);
}

/* Four addresses that nobody here uses; the first of a host is the gateway's. */
static int choose_network(struct nb_netlink *nl, struct nb_prefix *ret, struct nb_error *err)
{
	uint32_t random;
	int r = 1;

	for (int attempt = 0; attempt < 100 && r == 1; attempt++) {
		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return fail(err, -EIO, "choose a network for probes");
		random &= (UINT32_MAX >> TEST_BITS) & ~UINT32_C(3);
		*ret = (struct nb_prefix){ .address = TEST_NETWORK | random | 1, .length = 30 };
		r = nb_device_is_used(nl, ret);
	}
	if (r == 1)
		return nb_error_set(err, NB_STATUS_FAILED, EADDRNOTAVAIL, "kernel",
				    "198.18.0.0/15 is used by this host: there is no network left "
				    "for a probe");
	return r < 0 ? fail(err, r, "read addresses and routes") : 0;
}

int nb_probe_new_network(struct nb_netlink *nl, struct nb_probe_place **ret, struct nb_error *err)
{
	struct inside inside = { .err = err };
	int r = choose_network(nl, &inside.network, err);

	*ret = NULL;
	if (r == 0)
		r = new_place(nl, &inside.place, err);
	if (!inside.place)
		return r;
	r = make_veth(&inside, 0, 1500);
	if (r == 0) {
		r = nb_device_add_address(nl, inside.place->ifindex, &inside.network);
		if (r < 0)
			fail(err, r, "set the address of a network for probes");
	}
	if (r == 0)
		r = nb_place_do(inside.place, finish_inside, &inside);
	if (r < 0) {
		nb_probe_leave(inside.place);
		return r;
	}
	*ret = inside.place;
	return 0;
}

int nb_probe_enter(pid_t pid, struct nb_probe_place **ret, struct nb_error *err)
{
	struct nb_probe_place *place = calloc(1, sizeof(*place));
	struct stat theirs, ours;
	char path[48];
	int r = 0;

	*ret = NULL;
	if (!place)
		return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	snprintf(path, sizeof(path), "/proc/%lld/ns/net", (long long)pid);
	place->namespace = open(path, O_RDONLY | O_CLOEXEC);
	if (place->namespace < 0 || fstat(place->namespace, &theirs) < 0 ||
	    stat(OWN_NETWORK, &ours) < 0)
		r = nb_error_set(err, NB_STATUS_FAILED, errno, "kernel", "%s: %s", path,
				 strerror(errno));
	else if (theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev)
		r = nb_error_set(err, NB_STATUS_FAILED, EINVAL, "kernel",
				 "process %lld is in this network namespace", (long long)pid);
	if (r < 0) {
		nb_probe_leave(place);
		return r;
	}
	*ret = place;
	return 0;
}

/* The kernel chooses a source when a socket of datagrams is connected; nothing is sent. */
static int choose_source(void *data)
{
	struct nb_probe_place *place = data;
	struct sockaddr_in name = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(place->gateway),
		.sin_port = htons(9), /* any */
	};
	socklen_t length = sizeof(name);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&name, &length) < 0)
		r = -errno;
	else
		place->address = ntohl(name.sin_addr.s_addr);
	close(fd);
	return r;
}

int nb_probe_face(struct nb_probe_place *place, uint32_t gateway, unsigned int length,
		  struct nb_error *err)
{
	/* of 32 bits it has no neighbours, and says nothing */
	uint32_t hosts = length < 32 ? UINT32_MAX >> length : UINT32_MAX;
	int r;

	place->gateway = gateway;
	r = nb_place_do(place, choose_source, place);
	if (r == -ENETUNREACH || (r == 0 && ((place->address ^ gateway) & ~hosts)))
		return nb_error_set(err, NB_STATUS_FAILED, EADDRNOTAVAIL, "kernel",
				    "it has no address in that network");
	return r < 0 ? fail(err, r, "look for a way to the host") : 0;
}

void nb_probe_leave(struct nb_probe_place *place)
{
	if (!place)
		return;
	/* down before it goes, and gone before we go on: nobody finds half of it */
	if (place->ifindex) {
		nb_device_set_up(place->nl, place->ifindex, false);
		nb_device_delete(place->nl, place->ifindex);
	}
	if (place->namespace >= 0)
		close(place->namespace);
	free(place);
}

uint32_t nb_probe_address(const struct nb_probe_place *place)
{
	return place->address;
}

uint32_t nb_probe_gateway(const struct nb_probe_place *place)
{
	return place->gateway;
}
