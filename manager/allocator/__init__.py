"""4 EQUIP: subnets, virtual addresses, task addresses, published ports, node numbers."""
