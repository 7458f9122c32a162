/* The mapping test over TCP of libre (RFC 5780 section 4.3): mapping LOCAL SERVER PORT */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* As the library was built. */
#define HAVE_STDBOOL_H
#define HAVE_INET6
#include <re.h>

static int failed;

static void on_mapping(int err, enum nat_type type, void *arg)
{
	(void)arg;
	failed = err;
	if (!err)
		puts(nat_type_str(type));
	re_cancel();
}

int main(int argc, char **argv)
{
	struct nat_mapping *mapping = NULL;
	struct sa local, server;
	int err;

	if (argc != 4)
		return 2;
	err = libre_init();
	if (!err)
		err = sa_set_str(&local, argv[1], 0);
	if (!err)
		err = sa_set_str(&server, argv[2], (uint16_t)atoi(argv[3]));
	if (!err)
		err = nat_mapping_alloc(&mapping, &local, &server, IPPROTO_TCP, NULL,
					on_mapping, NULL);
	if (!err)
		err = nat_mapping_start(mapping);
	if (!err)
		err = re_main(NULL);
	if (!err)
		err = failed;
	if (err)
		fprintf(stderr, "%s\n", strerror(err));
	mem_deref(mapping);
	libre_close();
	return err ? 1 : 0;
}
