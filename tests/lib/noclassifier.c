/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * To be preloaded: a kernel without the classifier "bpf". What asks it for one asks for "bpx",
 * of which it knows as little.
 */
#include <dlfcn.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

static void spoil(char *data, size_t length)
{
	struct nlmsghdr *message = (struct nlmsghdr *)data;
	unsigned int left = (unsigned int)length;

	for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
		char *at = (char *)message, *end = at + message->nlmsg_len;

		for (; message->nlmsg_type == RTM_NEWTFILTER && at + 4 <= end; at++)
			if (memcmp(at, "bpf", 4) == 0)
				at[2] = 'x';
	}
}

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *address,
	       socklen_t size)
{
	ssize_t (*next)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
	char copy[65536];

	*(void **)&next = dlsym(RTLD_NEXT, "sendto");
	if (!address || address->sa_family != AF_NETLINK || length > sizeof(copy))
		return next(fd, data, length, flags, address, size);
	memcpy(copy, data, length);
	spoil(copy, length);
	return next(fd, copy, length, flags, address, size);
}
